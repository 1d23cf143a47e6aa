"""The pre-flight on every node test that the `onnx` package generates: contradictions, 0 expected or explained.

python benchmarks/onnx_node_tests.py [--release 10.3 ...] [--fix-release 8.2 ...] [--only REGEX] [--list N]

Each of the about 1,900 models is checked as generated and, where it has several inputs, once more with all but the
first stored as constants of the test's own values. A contradiction is one of these:

- a traceback, or more than SECONDS for one model;
- "fits", though the release's documented operators, types or opset do not have it, or its importer never reads an
  attribute that is set (an oracle written another way, on the same tables);
- "fits", though the parser of TensorRT for RTX refuses it; or refused by a rule about the parser other than the opset,
  which no parser checks, though that one takes it (releases from 10 on, where it is installed);
- `--fix` wrote a file whose outputs are not the test's own (tolerance of onnx's runner), that onnx.checker refuses in
  full, or that `check` does not call fitting although `--fix` did.

What is explained stands in benchmarks/onnx_node_explained.py and is counted apart.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx_node_explained import explained

from edgedistill.config.target import releases
from edgedistill.errors import EdgeDistillError
from edgedistill.onnx_model.check import check, fix
from edgedistill.onnx_model.findings import Graph
from edgedistill.onnx_model.rules.tables import column, importers

TARGET = "orin-nano-8gb"  # INT8 hardware, so that Q/DQ are judged by the parser's rules
SECONDS = 20
RUNNER_RULES = {"input-type", "dynamic-shape", "inputs", "external-data"}  # of the board's runner, not of a parser
ASK_PARSER_FROM = (10,)
BROKEN = (AssertionError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Case:
    """One model, the values of its inputs and the outputs that the test expects."""

    def __init__(self, name: str, model: onnx.ModelProto, inputs: dict, outputs: list, rtol: float, atol: float):
        self.name, self.model, self.inputs, self.outputs = name, model, inputs, outputs
        self.rtol, self.atol = rtol, atol
        self.kind = next((node.op_type for node in model.graph.node), "none")


def cases_of_onnx(only: str) -> list[Case]:
    cases = []
    for test in collect_testcases(""):
        if not re.search(only, test.name):
            continue
        inputs, outputs = test.data_sets[0]
        names = [value.name for value in test.model.graph.input]
        given = dict(zip(names, inputs, strict=False))
        cases.append(Case(test.name, test.model, given, list(outputs), test.rtol, test.atol))
        if stored := _with_constants(cases[-1]):
            cases.append(stored)
    return cases


def _with_constants(case: Case) -> Case | None:
    """All inputs but the first as initializers."""
    later = list(case.model.graph.input)[1:]
    plain = all(
        isinstance(case.inputs.get(v.name), np.ndarray | np.generic)
        and v.type.HasField("tensor_type")
        and v.type.tensor_type.elem_type != onnx.TensorProto.STRING
        for v in later
    )
    if not later or not plain:
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.input[1:]
    model.ir_version = max(model.ir_version, 4)  # before, initializers are inputs too
    for value in later:
        tensor = numpy_helper.from_array(np.asarray(case.inputs[value.name]), value.name)
        model.graph.initializer.append(tensor)
    first = {name: case.inputs[name] for name in list(case.inputs)[:1]}
    return Case(f"{case.name}+constants", model, first, case.outputs, case.rtol, case.atol)


@contextlib.contextmanager
def limited(seconds: int):
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


class Results:
    def __init__(self, name: str):
        self.release = releases()[name]
        self.counts: collections.Counter[str] = collections.Counter()
        self.rules: collections.Counter[str] = collections.Counter()
        self.reasons: collections.Counter[str] = collections.Counter()
        self.contradictions: list[tuple[str, str, str]] = []

    def contradicts(self, case: Case, what: str, detail: str, findings: list[dict]) -> None:
        details = [f"{finding['rule']}: {finding['why']}" for finding in findings] or [detail]
        reason = explained(self.release.number, what, details)
        if reason:
            self.counts["explained"] += 1
            self.reasons[f"{what}: {reason}"] += 1
        else:
            self.contradictions.append((what, case.name, detail))


def judged(case: Case, path: Path, results: Results, parser: dict | None) -> bool:
    """One model at one release without mends. True when the parser rules let it pass."""
    results.counts["models"] += 1
    try:
        with limited(SECONDS):
            verdict = check(path, TARGET, results.release.name)
    except EdgeDistillError as error:
        results.counts["refused in one line"] += 1
        if "\n" in str(error).strip():
            results.contradicts(case, "more than one line", str(error), [])
        return False
    except Exception as error:  # whatever it is, it is a fault
        results.contradicts(case, "traceback of check", repr(error)[:200], [])
        return False
    errors = [f for f in verdict["findings"] if f["level"] == "error"]
    findings = [f for f in errors if f["rule"] not in RUNNER_RULES]
    results.counts["fits"] += verdict["fits"]
    results.counts["refused by rules of the parser"] += bool(findings)
    results.counts["refused by the runner's rules alone"] += not verdict["fits"] and not findings
    results.rules.update({f["rule"] for f in findings})
    if not findings and (fault := _against_the_tables(case.model, results.release)):
        results.contradicts(case, "fits against the tables", fault, [])
    if parser is not None and results.release.number >= ASK_PARSER_FROM:
        taken, said = parser["taken"], parser["said"]
        asked = [f for f in findings if f["rule"] != "opset"]
        if taken and asked:
            results.contradicts(case, "refused, the parser takes it", f"{asked[0]['rule']}: {asked[0]['why']}", asked)
        elif not taken and not asked:
            results.contradicts(case, "fits, the parser refuses it", said, [])
    return verdict["fits"]


def _against_the_tables(model: onnx.ModelProto, release) -> str | None:
    """What the tables of the release do not have, asked without the rules."""
    graph = Graph(model, 0)
    if graph.opset > release.opset_max:
        return f"opset {graph.opset}"
    documented, reads = column("types.csv", release.operators), column("attributes.csv", release.operators)
    for node in model.graph.node:
        if node.op_type not in importers(release.operators):
            return f"no importer for {node.op_type}"
        types = {_as_read(graph.types.get(name, 0), release) for name in node.input[:1] if name}
        odd = types - documented.get(node.op_type, types) - {"UNDEFINED"}
        if odd:
            return f"{node.op_type} of {odd.pop()}"
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=graph.opset)
        for item in node.attribute:
            default = schema.attributes[item.name].default_value
            same = default.type == item.type and onnx.helper.get_attribute_value(default) == (
                onnx.helper.get_attribute_value(item)
            )
            if item.name not in reads.get(node.op_type, ()) and not same:
                return f"{node.op_type}.{item.name} is never read"
    return None


def _as_read(kind: int, release) -> str:
    name = onnx.TensorProto.DataType.Name(kind)
    return {"DOUBLE": "FLOAT", "INT64": "INT32" if release.number < (10,) else "INT64"}.get(name, name)


def mended(case: Case, path: Path, folder: Path, results: Results, can_run: bool) -> None:
    """`--fix` on one model: whatever it writes must give the test's own outputs."""
    out = folder / "out.onnx"
    out.unlink(missing_ok=True)
    try:
        with limited(SECONDS):
            result = fix(path, TARGET, out, results.release.name)
    except EdgeDistillError as error:
        results.counts["fix: nothing written"] += 1
        if "\n" in str(error).strip():
            results.contradicts(case, "more than one line", str(error), [])
        return
    except Exception as error:  # whatever it is, it is a fault
        results.contradicts(case, "traceback of --fix", repr(error)[:200], [])
        return
    results.counts["fix: fits now"] += result["fits"]
    try:
        onnx.checker.check_model(str(out), full_check=True)
    except Exception as error:  # its C++ side raises several types
        results.contradicts(case, "onnx.checker refuses what --fix wrote", " ".join(str(error).split())[:200], [])
    if check(out, TARGET, results.release.name)["fits"] != result["fits"]:
        results.contradicts(case, "check and --fix disagree", f"--fix: {result['fits']}", [])
    if can_run and (difference := _difference(case, out)):
        results.contradicts(case, "other outputs after --fix", difference, [])


def _difference(case: Case, path: Path) -> str | None:
    """Where ONNX Runtime's outputs are not the test's, by the tolerance of onnx's runner."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
        feed = {
            v.name: np.asarray(case.inputs[v.name]).astype(kinds[v.type]) if v.type in kinds else case.inputs[v.name]
            for v in session.get_inputs()
        }
        got = session.run(None, feed)
    except Exception as error:  # its exception classes share no public base
        return f"ONNX Runtime: {' '.join(str(error).split())[:160]}"
    for expected, value in zip(case.outputs, got, strict=False):
        try:
            wide = [
                np.asarray(a, np.float32) if str(getattr(a, "dtype", "")) in ("bfloat16", "float16") else a
                for a in (expected, value)
            ]
            np.testing.assert_allclose(wide[1], wide[0], rtol=case.rtol, atol=case.atol)
        except (*BROKEN, NotImplementedError) as error:
            return " ".join(str(error).split())[:160]
    return None


_CHILD = """
import json, sys
from edgedistill.onnx_model.compile_child import PARSES, compile_file
import tensorrt_rtx as trt
for path in sys.stdin.read().split():
    print(json.dumps([path, None]), flush=True)
    found = compile_file(trt, path, only_parse=True)
    said = " ".join(" ".join(found["said"]).split())[:300]
    print(json.dumps([path, {"taken": found["verdict"] == PARSES, "said": said}]), flush=True)
"""


def asked_of_the_parser(paths: list[Path]) -> dict[str, dict]:
    """{path: taken, said} of TensorRT for RTX, in a child that is started again behind a file that kills it."""
    answers: dict[str, dict] = {}
    waiting = [str(path) for path in paths]
    while waiting:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input="\n".join(waiting),
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
            check=False,
        )
        lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("[")]
        if not lines:
            raise SystemExit(f"the parser cannot be asked: {child.stderr.strip().splitlines()[-1:]}")
        answers |= {path: answer for path, answer in lines if answer is not None}
        last = lines[-1][0]
        answers.setdefault(last, {"taken": False, "said": f"the parser ended with code {child.returncode}"})
        waiting = waiting[waiting.index(last) + 1 :]
    return answers


def printed(all_results: list[Results], most: int) -> int:
    for results in all_results:
        counts = "; ".join(f"{number} {what}" for what, number in results.counts.items())
        print(f"\nTensorRT {results.release.name}: {counts}; {len(results.contradictions)} contradictions")
        print("  refused by rule: " + ", ".join(f"{rule} {number}" for rule, number in results.rules.most_common()))
        for reason, number in results.reasons.most_common():
            print(f"  explained {number} x {reason}")
    where: dict[tuple[str, str, str], list[str]] = {}
    for results in all_results:
        for what, name, detail in results.contradictions:
            detail = detail.replace(f"TensorRT {results.release.name}", "TensorRT")
            where.setdefault((what, name, detail), []).append(results.release.name)
    for (what, name, detail), names in list(where.items())[:most]:
        print(f"CONTRADICTION {what}: {name}: {detail} ({', '.join(names)})")
    return sum(len(results.contradictions) for results in all_results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="append", choices=list(releases()), help="default: all")
    parser.add_argument("--fix-release", action="append", choices=list(releases()), help="default: 8.2 and 10.3")
    parser.add_argument("--only", default="", metavar="REGEX", help="names of node tests")
    parser.add_argument(
        "--list", type=int, default=200, metavar="N", help="contradictions shown (default: %(default)s)"
    )
    parser.add_argument("--no-fix", action="store_true", help="check only")
    parser.add_argument("--no-parser", action="store_true", help="do not ask TensorRT for RTX")
    args = parser.parse_args()
    started = time.process_time()
    cases = cases_of_onnx(args.only)
    all_results = [Results(name) for name in args.release or releases()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{number}.onnx" for number in range(len(cases))]
        for case, path in zip(cases, paths, strict=True):
            path.write_bytes(case.model.SerializeToString())
        answers = {} if args.no_parser else asked_of_the_parser(paths)
        for case, path in zip(cases, paths, strict=True):
            can_run = not args.no_fix and len(case.inputs) == 1 and _difference(case, path) is None
            for results in all_results:
                fits = judged(case, path, results, answers.get(str(path)))
                if not fits and can_run and results.release.name in (args.fix_release or ("8.2", "10.3")):
                    mended(case, path, folder, results, can_run)
    left = printed(all_results, args.list)
    print(
        f"\n{len(cases)} models, onnx {onnx.__version__}, {time.process_time() - started:.0f} CPU-seconds: "
        f"{left} contradictions that are not explained"
    )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
