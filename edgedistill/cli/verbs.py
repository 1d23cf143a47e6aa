"""The verbs: their order and groups in `edgedistill --help`, a sentence, an example and a page of docs/ each."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from edgedistill.core.text import nearest_name


class Verb(NamedTuple):
    """One row.

    Attributes:
        help: a sentence without its full stop; begins with a verb. Of a stage: empty, see _OF_STAGE.
        example: a command that parses.
        page: in docs/.
    """

    help: str
    example: str
    page: str


_OF_STAGE = ""  # the stage's own sentence, in pipeline/table.py
GROUPS: dict[str, dict[str, Verb]] = {
    "start": {
        "quickstart": Verb(
            "run the full pipeline on the ELPV solar-cell images", "edgedistill quickstart", "README.md"
        ),
        "new": Verb(
            "look at your images and write a recipe for them", "edgedistill new --train images parts.toml", "data.md"
        ),
        "run": Verb(
            "run every stage in turn and skip those that are up to date", "edgedistill run parts.toml", "training.md"
        ),
        "doctor": Verb(
            "check the installation: what is installed, what is missing", "edgedistill doctor", "tutorial.md"
        ),
        "completion": Verb(
            "print a completion script for your shell", "edgedistill completion bash > edgedistill.bash", "events.md"
        ),
    },
    "train, one stage at a time": {
        "data": Verb(_OF_STAGE, "edgedistill data parts.toml", "data.md"),
        "schedule": Verb(_OF_STAGE, "edgedistill schedule parts.toml --set distill.minutes=20", "training.md"),
        "teacher": Verb(_OF_STAGE, "edgedistill teacher parts.toml", "training.md"),
        "synthesise": Verb(_OF_STAGE, "edgedistill synthesise parts.toml", "training.md"),
        "logits": Verb(_OF_STAGE, "edgedistill logits parts.toml", "training.md"),
        "baseline": Verb(_OF_STAGE, "edgedistill baseline parts.toml", "training.md"),
        "assist": Verb(_OF_STAGE, "edgedistill assist parts.toml", "training.md"),
        "distill": Verb(_OF_STAGE, "edgedistill distill parts.toml --set distill.temperature=2", "training.md"),
        "evaluate": Verb(_OF_STAGE, "edgedistill evaluate parts.toml", "training.md"),
        "curve": Verb(_OF_STAGE, "edgedistill curve parts.toml --set distill.pool_shares=[0,0.25,0.5]", "methods.md"),
        "export": Verb(_OF_STAGE, "edgedistill export parts.toml", "onnx.md"),
        "quantize": Verb(_OF_STAGE, "edgedistill quantize parts.toml", "quantization.md"),
        "decide": Verb(_OF_STAGE, "edgedistill decide parts.toml", "howto/decide.md"),
        "bundle": Verb(_OF_STAGE, "edgedistill bundle parts.toml --format archive", "bundle.md"),
        "report": Verb(_OF_STAGE, "edgedistill report parts.toml", "report.md"),
        "sweep": Verb(
            "try settings of the student on one cached teacher",
            "edgedistill sweep parts.toml --over distill.temperature=1,2,4",
            "training.md",
        ),
    },
    "look": {
        "predict": Verb(
            "classify images with a trained student, on this computer",
            "edgedistill predict runs/parts images",
            "classify.md",
        ),
        "compare": Verb(
            "compare several runs on one page and in one table", "edgedistill compare runs/a runs/b", "report.md"
        ),
        "check": Verb(
            "check whether the board's TensorRT takes an ONNX file",
            "edgedistill check student.onnx --target jetson-nano",
            "onnx.md",
        ),
        "students": Verb(
            "list student networks and which boards support them",
            "edgedistill students --target jetson-nano",
            "onnx.md",
        ),
        "choose": Verb(
            "rank the students that meet a budget on a board",
            "edgedistill choose --target jetson-nano --fps 30 --memory-mib 500",
            "predict.md",
        ),
        "estimate": Verb(
            "estimate speed, power and memory of a network on a board, without the board",
            "edgedistill estimate mobilenetv3_small_100 --target jetson-nano",
            "predict.md",
        ),
        "published": Verb(
            "list what others measured on a board, with source and grade",
            "edgedistill published --target jetson-nano",
            "predict.md",
        ),
    },
    "board": {
        "enrol": Verb(
            "install the agent and a public key on a board, or update them",
            "edgedistill enrol nano.local --target jetson-nano --key release",
            "deploy.md",
        ),
        "status": Verb(
            "show which releases a board has and which one it serves", "edgedistill status nano.local", "releases.md"
        ),
        "rollback": Verb("return a board to its previous release", "edgedistill rollback nano.local", "releases.md"),
        "bench": Verb(
            "measure a network on a board without deploying it",
            "edgedistill bench student.onnx --host nano.local",
            "deploy.md",
        ),
    },
    "fleet": {
        "deploy": Verb(
            "verify and time the bundle on each host of a recipe, or install it on boards over SSH",
            "edgedistill deploy runs/parts --fleet boards.toml",
            "deploy.md",
        ),
        "keys": Verb("manage the keys that sign bundles", "edgedistill keys new", "bundle.md"),
    },
}
VERBS: dict[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}


def page_of(verb: Verb) -> str:
    """The page's path in the repository."""
    return verb.page if verb.page == "README.md" else f"docs/{verb.page}"


def add_verb(verbs: argparse._SubParsersAction, name: str) -> argparse.ArgumentParser:
    """The parser of one verb, with the texts of its row."""
    from edgedistill.pipeline.table import STAGES

    verb = VERBS[name]
    text = verb.help or next(stage.help for stage in STAGES if stage.name == name)
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example:\n  {verb.example}\n\ndocumentation: {page_of(verb)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


OTHER_WORDS = {
    "train": "run",
    "fit": "run",
    "start": "run",
    "resume": "run",
    "init": "new",
    "create": "new",
    "test": "evaluate",
    "eval": "evaluate",
    "classify": "predict",
    "infer": "predict",
    "benchmark": "bench",
    "install": "enrol",
    "enroll": "enrol",
    "calibrate": "quantize",
    "models": "students",
}  # what other programs call our verbs


def unknown_verb(name: str) -> str:
    """What to say of a verb that there is not."""
    near = nearest_name(name, [*VERBS, *OTHER_WORDS])
    meant = "" if near is None else f"did you mean {OTHER_WORDS.get(near, near)!r}? "
    return f"no verb {name!r}; {meant}it has: {', '.join(VERBS)}"


class GroupedHelp(argparse.HelpFormatter):
    """`edgedistill --help`: the verbs under the heads of their groups."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment  # argparse forgets that verbs are indented

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        rows = {row.dest: row for row in action._choices_actions}
        self._indent()
        lines: list[str] = []
        for title, group in GROUPS.items():
            lines += [f"\n  {title}:\n", *(super(GroupedHelp, self)._format_action(rows[name]) for name in group)]
        self._dedent()
        return "".join(lines)
