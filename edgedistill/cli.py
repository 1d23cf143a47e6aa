"""The command line: parse, call one library function, print its result.

stdout is results, stderr is talk. Exit code 0 done, 1 refused in one line, 2 wrong usage.
Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from edgedistill import __version__
from edgedistill.errors import EdgeDistillError


def build_parser() -> argparse.ArgumentParser:
    """All verbs and options, without importing torch."""
    from edgedistill.stages import STAGES

    parser = argparse.ArgumentParser(
        prog="edgedistill",
        description="From a folder of images to a distilled student on a Jetson.",
    )
    parser.add_argument("--version", action="version", version=f"edgedistill {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    quickstart = verbs.add_parser("quickstart", help="the whole road on the ELPV solar cells")
    quickstart.set_defaults(call=_quickstart)
    _add_run_options(quickstart)

    new = verbs.add_parser("new", help="look at your images and write a recipe for them")
    new.add_argument("--train", type=Path, required=True, help="folder per class, CSV, parquet, or .tar shards")
    new.add_argument("--val", type=Path, help="the same, if you have a split already")
    new.add_argument("--unlabelled", type=Path, help="more images, without labels")
    new.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    new.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="file to write")
    new.set_defaults(call=_new)

    run = verbs.add_parser("run", help="every stage in turn; finished ones are skipped")
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run.set_defaults(call=_run, stage=None)
    _add_run_options(run)

    for stage in STAGES:
        verb = verbs.add_parser(stage.name, help=f"stage: {stage.help}")
        verb.add_argument("recipe", type=Path, metavar="RECIPE.toml")
        verb.set_defaults(call=_run, stage=stage.name)
        _add_run_options(verb)

    sweep = verbs.add_parser("sweep", help="try settings of the student on one cached teacher")
    sweep.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    sweep.add_argument("--over", nargs="+", required=True, metavar="section.key=a,b,c",
                       help="keys of [distill] and the values to try")  # fmt: skip
    sweep.add_argument("--trials", type=int, metavar="N",
                       help="try N combinations, chosen by TPE, instead of all")  # fmt: skip
    sweep.add_argument("--storage", metavar="URL",
                       help="Optuna storage that several machines share (default: a file)")  # fmt: skip
    sweep.set_defaults(call=_sweep)
    _add_run_options(sweep)

    _add_check(verbs)
    students = verbs.add_parser("students", help="networks that can be students, and who takes them")
    students.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    students.add_argument("--refresh", action="store_true",
                          help="export, check and compile them all again; minutes")  # fmt: skip
    students.add_argument("--json", action="store_true", help="print one JSON document")
    students.set_defaults(call=_students)

    doctor = verbs.add_parser("doctor", help="what of the toolchain is here, what is missing")
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    doctor.set_defaults(call=_doctor)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = build_parser().parse_args(argv)
    # PyTorch's OpenMP threads spin while they wait; on a shared machine, or beside our own image
    # threads, that starves whoever holds the work. Read when torch is imported, so set here.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return args.call(args)
    except EdgeDistillError as error:
        print(f"edgedistill {args.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"edgedistill {args.verb}: stopped; run it again to go on from here", file=sys.stderr)
        return 1


def _add_check(verbs: argparse._SubParsersAction) -> None:
    check = verbs.add_parser("check", help="will the board's TensorRT take this ONNX file?")
    check.add_argument("model", type=Path, metavar="MODEL.onnx")
    check.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    check.add_argument("--tensorrt", metavar="RELEASE",
                       help="that of another JetPack: 8.2, 8.5, 8.6, 10.3 (default: the board's)")  # fmt: skip
    check.add_argument("--fix", type=Path, metavar="OUT.onnx",
                       help="write a mended file, proved equal to this one in ONNX Runtime")  # fmt: skip
    check.add_argument("--compile", action="store_true",
                       help="also parse and build it with a TensorRT of this computer")  # fmt: skip
    check.add_argument("--compile-seconds", type=float, default=300, metavar="N",
                       help="stop the compiler after this (default: %(default)s)")  # fmt: skip
    check.add_argument("--compile-mib", type=int, default=4096, metavar="N",
                       help="stop the compiler at this memory (default: %(default)s)")  # fmt: skip
    check.add_argument("--json", action="store_true", help="print one JSON document")
    check.set_defaults(call=_check)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", type=Path, metavar="DIR",
                        help="where artifacts go (default: runs/RECIPE)")  # fmt: skip
    parser.add_argument("--set", dest="overrides", action="append", default=[],
                        metavar="section.key=value", help="override a recipe key")  # fmt: skip
    parser.add_argument("--seeds", type=int, metavar="N",
                        help="train baseline and student N times: mean and spread of the gain")  # fmt: skip
    parser.add_argument("--force", action="append", default=[], metavar="STAGE",
                        help="redo this stage although it is up to date")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only results")


def _overrides(args: argparse.Namespace) -> list[str]:
    return [*args.overrides, *([f"distill.seeds={args.seeds}"] if args.seeds is not None else [])]


def _run(args: argparse.Namespace) -> int:
    from edgedistill.config import load_recipe

    return _run_recipe(args, load_recipe(args.recipe, _overrides(args)), args.recipe.stem)


def _quickstart(args: argparse.Namespace) -> int:
    from edgedistill.quickstart import quickstart_recipe

    args.stage = None
    run_dir = args.run_dir or Path("runs/quickstart")
    return _run_recipe(args, quickstart_recipe(run_dir, _overrides(args)), "quickstart")


def _run_recipe(args: argparse.Namespace, recipe, name: str) -> int:
    from edgedistill.pipeline import run_stages
    from edgedistill.stages import STAGES
    from edgedistill.talk import Talk

    known = [stage.name for stage in STAGES]
    unknown = [stage for stage in args.force if stage not in known]
    if unknown:
        print(f"edgedistill {args.verb}: --force {unknown[0]}: no such stage; "
              f"there are: {', '.join(known)}", file=sys.stderr)  # fmt: skip
        return 2
    run_dir = args.run_dir or Path("runs") / name
    path = run_stages(recipe, run_dir, Talk(args.quiet), only=args.stage, force=args.force)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return 0
    if args.json:
        print(path.read_text(encoding="utf-8"), end="")
    elif path.stem == "report":
        from edgedistill.report.summary import summary_table

        print(summary_table(json.loads(path.read_text(encoding="utf-8"))))
        print(f"report: {path.with_suffix('.html')}")
    else:
        print(path)
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from edgedistill.sweep import Sweep, text_from_sweep
    from edgedistill.talk import Talk

    run_dir = args.run_dir or Path("runs") / args.recipe.stem
    sweep = Sweep(args.recipe, _overrides(args), args.over, run_dir, Talk(args.quiet))
    path = sweep.run(args.storage, args.trials)
    text = path.read_text(encoding="utf-8")
    print(text if args.json else text_from_sweep(json.loads(text), path.parent))
    return 0


def _new(args: argparse.Namespace) -> int:
    from edgedistill.new import inspect_and_write

    inspect_and_write(args.train, args.val, args.target, args.recipe, print, args.unlabelled)
    print(f"wrote {args.recipe}; next: edgedistill run {args.recipe}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from edgedistill.check import check, fix, text_from_check

    if args.fix:
        result = fix(args.model, args.target, args.fix, args.tensorrt)
    else:
        result = check(args.model, args.target, args.tensorrt)
    if args.compile:
        from edgedistill.onnx_model.compile import compile_onnx

        compiled = compile_onnx(args.fix or args.model, args.compile_seconds, args.compile_mib)
        result["compile"] = compiled
    print(json.dumps(result, indent=1) if args.json else text_from_check(result))
    compiles = "compile" not in result or result["compile"]["verdict"] == "builds"
    return 0 if result["fits"] and compiles else 1


def _students(args: argparse.Namespace) -> int:
    from edgedistill import students
    from edgedistill.talk import Talk

    if args.refresh:
        last = students.stored()["seconds"]
        talk = Talk(quiet=False)
        talk.say(f"the last refresh took {last:.0f} s")
        students.refresh(students.stored_path(), talk.say)
    table = students.students(args.target)
    print(json.dumps(table, indent=1) if args.json else students.text_from_students(table))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from edgedistill.doctor import examine, text_from_checks

    checks = examine()
    if args.json:
        print(json.dumps([vars(check) for check in checks], indent=1))
    else:
        print(text_from_checks(checks))
    return 0 if all(check.ok or not check.required for check in checks) else 1
