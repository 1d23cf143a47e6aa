"""`make fuzz`: libFuzzer's search by coverage (atheris) on the targets of fuzz_targets.py.

    python tests/torture/coverage_fuzzing.py [NAME ...] [--out FOLDER]     TORTURE and TORTURE_SEED as everywhere

Our packages are imported instrumented, once; each target runs in a fork of its own, because libFuzzer
ends the process. A finding does not end the run: it is written down, and the search goes on. Into FOLDER:
NAME.log (libFuzzer's own words) and NAME.jsonl (findings: kind, words, the input in hex).
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parents[1]),
    str(HERE.parents[1] / "jetson"),
    str(HERE.parents[1] / "calibration"),
    str(HERE.parent),
    str(HERE.parent / "jetson"),
    str(HERE),
]
sys.dont_write_bytecode = True
# Not as a `with`: what is imported late, inside functions, is to be instrumented too.
atheris.instrument_imports(include=["edgedistill", "edgedistill_device", "edgedistill_calibration"]).__enter__()

from corruptions import INTERESTING  # noqa: E402
from fuzz_regressions import found_once  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402
from monitored_target import finding_of  # noqa: E402
from results_log import table  # noqa: E402
from suite_length import SEED, chance, rounds  # noqa: E402

_LONGEST = 1 << 16  # bytes of an input
_OPTIONS = ("-timeout=0", "-rss_limit_mb=0", "-print_final_stats=1", f"-max_len={_LONGEST}", "-len_control=0")


def search(name, runs, scratch, out):
    """In a fork: does not return. Half of the inputs are libFuzzer's, half have our own corruptions."""
    target, draw, known = TARGETS[name][0](scratch / "target"), chance(f"guided {name}"), set()
    with contextlib.suppress(target.allowed):
        target.call(target.corpus[0])  # now all is imported
    corpus = scratch / "corpus"
    corpus.mkdir()
    for number, content in enumerate([*target.corpus, *found_once(name, target.corpus)]):
        (corpus / str(number)).write_bytes(content[:_LONGEST])
    words = ["".join(f"\\x{byte:02x}" for byte in word) for word in INTERESTING if len(word) <= 64]  # its limit
    (scratch / "words").write_text("".join(f'"{word}"\n' for word in words))
    findings = open(out / f"{name}.jsonl", "w", encoding="utf-8")  # noqa: SIM115  libFuzzer never comes back
    warnings.simplefilter("error")

    def one(content):
        finding = finding_of(target, content)
        if finding is not None:
            first = finding[0] not in known
            known.add(finding[0])
            findings.write(json.dumps([*finding, content.hex() if first else ""]) + "\n")
            findings.flush()

    def corrupted(content, longest, seed):
        if seed % 2:
            return atheris.Mutate(content, longest)
        draw.seed(seed)
        return target.corruptions(draw, [content])[:longest]

    options = (*_OPTIONS, f"-runs={runs}", f"-seed={SEED}", f"-dict={scratch / 'words'}", f"-artifact_prefix={out}/")
    atheris.Setup([name, *options, str(corpus)], one, custom_mutator=corrupted)
    atheris.Fuzz()


def searched(name, out):
    """Run it; (inputs, coverage, features, seconds, findings by kind)."""
    start, log = time.monotonic(), out / f"{name}.log"
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "target").mkdir()
        child = os.fork()
        if child == 0:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            try:
                search(name, rounds(*TARGETS[name][1]), Path(scratch), out)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = log.read_text(errors="replace")
    inputs = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    covered = re.findall(r" cov: (\d+) ft: (\d+)", said)
    kinds = {}
    for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        kind, *rest = json.loads(line)
        kinds.setdefault(kind, rest)
    if code != 0 or not inputs:
        kinds[f"ended with exit code {code}"] = [f"see {log}", ""]
    coverage, features = map(int, covered[-1]) if covered else (0, 0)
    return int(inputs[0]) if inputs else 0, coverage, features, time.monotonic() - start, kinds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir(), "edgedistill-fuzz"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows, lost = [], 0
    for name in args.names or TARGETS:
        inputs, coverage, features, seconds, kinds = searched(name, args.out)
        rows.append(["guided", name, inputs, len(kinds)])
        lost += len(kinds)
        print(f"{name}: {inputs} inputs, {seconds:.0f} s, edges {coverage}, features {features}", flush=True)
        for kind, (words, content) in kinds.items():
            print(f"  {kind}: {words} {bytes.fromhex(content)[:300]!r}", flush=True)
    print("\n".join(table(rows)))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
