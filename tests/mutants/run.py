"""Make each small fault of mutants.toml in a copy of the repository and run the tests that must notice it.

usage: python tests/mutants/run.py [--only 'PATTERN ...'] [--jobs N] [--timeout-s S]

A fault that no test notices has survived: exit code 1. So has one that its tests only end by the time
limit, and one whose old text is not in its file exactly once. Before the first fault the same tests
run in an unchanged copy, where all must pass.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.util
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
PACKAGES = ("edgedistill", "edgedistill_device", "edgedistill_calibration")
FOLDERS = (".", "jetson", "calibration")  # that hold them
TIMEOUT_S = 180  # of one fault's tests
KILLED, SURVIVED, TIMEOUT, BROKEN, STALE = "killed", "SURVIVED", "TIMEOUT", "BROKEN", "STALE"


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: of the fault, unique; what `--only` matches.
        file: path in the repository.
        old, new: text that is there exactly once, and what it becomes.
        tests: arguments of pytest: files or node ids, the closest ones.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, root: Path) -> str:
        """The file's text with the fault.

        Raises:
            ValueError: the old text is not there exactly once, or is equal to the new one.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"{self.file} holds the old text {count} times, not once; update {LIST.name}")
        if self.old == self.new:
            raise ValueError("old and new text are equal")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: one of KILLED..STALE, the first test that failed or a reason, seconds."""

    name: str
    status: str
    detail: str
    seconds: float


def mutants_from_file(path: Path = LIST) -> list[Mutant]:
    """The list, in the file's order.

    Raises:
        TypeError: a row has a key too many or too few.
        ValueError: a name comes twice.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]
    names = [mutant.name for mutant in mutants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{path.name}: names that come twice: {sorted(twice)}")
    return mutants


@contextlib.contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Copies of what git tracks or would add, in a temporary folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        made = [Path(folder, f"copy-{number}") for number in range(count)]
        for copy in made:
            for name in names:
                if os.path.lexists(ROOT / name):  # not one that is tracked and removed
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        yield made


def environment_for(copy: Path) -> dict[str, str]:
    """This process's, with the copy in front of the installed package."""
    path = os.pathsep.join(str(copy / folder) for folder in FOLDERS)
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}


def refuse_unless_imported_from(copy: Path) -> None:
    """
    Raises:
        RuntimeError: Python would test another tree than the copy.
    """
    code = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy.parent,
        env=environment_for(copy),
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        if not Path(line).is_relative_to(copy):
            raise RuntimeError(f"{line} would be tested, not the copy in {copy}")


def run_tests(copy: Path, tests: tuple[str, ...], timeout_s: float, stop: bool = True) -> tuple[int | None, str]:
    """(pytest's exit code, None when it took too long; first failure or last line)."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *["-x"] * stop,
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--basetemp={copy}-tmp",
        *tests,
    ]
    child = subprocess.Popen(
        command,
        cwd=copy,
        env=environment_for(copy),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = child.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return None, f"no end within {timeout_s:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):  # what the tests left, too
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    lines = [line for line in said.splitlines() if line.strip()]
    failed = [line.split(" ", 1)[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return child.returncode, failed[0].split(" - ")[0] if failed else lines[-1] if lines else ""


def outcome_of(mutant: Mutant, copy: Path, timeout_s: float) -> Outcome:
    """Make the fault in the copy, run its tests, and put the file back."""
    started, path = time.monotonic(), copy / mutant.file
    compiled = Path(importlib.util.cache_from_source(path))
    try:
        faulty = mutant.applied(copy)
    except ValueError as error:
        return Outcome(mutant.name, STALE, str(error), 0.0)
    before = path.read_bytes()
    try:
        path.write_text(faulty, encoding="utf-8")
        compiled.unlink(missing_ok=True)  # Python compares sizes and whole seconds only
        code, detail = run_tests(copy, mutant.tests, timeout_s)
    finally:
        path.write_bytes(before)
        compiled.unlink(missing_ok=True)
    status = {0: SURVIVED, 1: KILLED, None: TIMEOUT}.get(code, BROKEN)
    detail = " ".join(mutant.tests) if status == SURVIVED else detail
    return Outcome(mutant.name, status, detail, time.monotonic() - started)


def baseline(made: list[Path], mutants: list[Mutant], timeout_s: float) -> list[str]:
    """First failures of the tests in the unchanged copies, run at once; empty when all pass."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    shares = [tuple(tests[number :: len(made)]) for number in range(len(made))]
    with ThreadPoolExecutor(len(made)) as pool:
        ends = pool.map(
            lambda pair: run_tests(*pair, timeout_s * len(tests)),
            [pair for pair in zip(made, shares, strict=True) if pair[1]],
        )
        return [f"{detail} (exit code {code})" for code, detail in ends if code != 0]


def run(mutants: list[Mutant], jobs: int, timeout_s: float) -> list[Outcome]:
    """The outcome of each fault, printed as it comes.

    Raises:
        RuntimeError: the tests do not pass without a fault, or test another tree.
    """
    with copies(jobs) as made:
        for copy in made:
            refuse_unless_imported_from(copy)
        started = time.monotonic()
        if failed := baseline(made, mutants, timeout_s):
            raise RuntimeError("without a fault these fail: " + "; ".join(failed))
        print(f"{'baseline':9} {time.monotonic() - started:6.1f} s  the tests pass without a fault", flush=True)
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for copy in made:
            free.put(copy)

        def one(mutant: Mutant) -> Outcome:
            copy = free.get()
            try:
                found = outcome_of(mutant, copy, timeout_s)
            finally:
                free.put(copy)
            print(f"{found.status:9} {found.seconds:6.1f} s  {found.name}: {found.detail}", flush=True)
            return found

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, mutants))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of faults, or patterns like 'verify-*'")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults at a time")
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S, help="of one fault's tests")
    args = parser.parse_args(argv)
    patterns = args.only.split() or ["*"]
    mutants = [one for one in mutants_from_file() if any(fnmatch.fnmatch(one.name, pattern) for pattern in patterns)]
    if not mutants:
        parser.error(f"no fault is called {args.only!r}; names are in {LIST}")
    started = time.monotonic()
    try:
        outcomes = run(mutants, max(1, min(args.jobs, len(mutants))), args.timeout_s)
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    left = [found for found in outcomes if found.status != KILLED]
    print(
        f"{len(outcomes)} faults, {len(outcomes) - len(left)} killed, {len(left)} not, "
        f"{time.monotonic() - started:.0f} s"
    )
    for found in left:
        print(f"  {found.status} {found.name}: {found.detail}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
