"""Print docs/cli.md from the parsers: python docs/make_cli.py > docs/cli.md"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgedistill.cli.main import build_parser
from edgedistill.cli.verbs import VERBS
from edgedistill_device.__main__ import build_parser as device_parser

HEAD = """# Commands

Made by `python docs/make_cli.py > docs/cli.md`; do not edit. Results go to stdout, messages to stderr. Exit code
0: done; 1: refused, in one line that says what to do; 2: wrong usage; 130: stopped by Ctrl-C;
141: the reader of the output has ended, like `| head`."""


def verbs_of(parser: argparse.ArgumentParser) -> list[tuple[str, str, argparse.ArgumentParser]]:
    """(name, help, parser) of each verb, in order."""
    choices = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    helps = {action.dest: action.help for action in choices._choices_actions}
    return [(name, helps.get(name) or "", verb) for name, verb in choices.choices.items()]


def shown(action: argparse.Action) -> str:
    """`-q, --quiet` or `--set section.key=value`, as it is typed."""
    if action.nargs == 0:
        value = ""
    elif action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.metavar or action.dest.upper()
        value = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return value
    more = " ..." if action.nargs in {"+", "*"} else ""
    return f"{', '.join(action.option_strings)} {value}{more}".strip()


def usage(program: str, name: str, parser: argparse.ArgumentParser) -> str:
    words = [program, name]
    for action in parser._actions:
        if action.option_strings and action.required:
            words.append(shown(action).split(", ")[-1])
    words.append("[options]")
    for action in parser._actions:
        if not action.option_strings:
            word = shown(action)
            words.append(f"[{word} ...]" if action.nargs in {"*", "?"} else word)
    return " ".join(words)


def rows(parser: argparse.ArgumentParser) -> list[str]:
    found = []
    for action in parser._actions:
        if action.dest == "help":
            continue
        text = (action.help or "") % vars(action) if action.help else ""
        found.append(f"| `{shown(action)}` | {text} |".replace("||", "|  |"))
    return found


def main() -> None:
    print(HEAD)
    for program, parser in (
        ("edgedistill", build_parser()),
        ("python3 -m edgedistill_device", device_parser()),
    ):
        print(f"\n## {program}\n\n{parser.description}")
        seen: dict[tuple[str, ...], str] = {}
        for name, text, verb in verbs_of(parser):
            print(f"\n### {program} {name}\n\n{text[:1].upper() + text[1:]}.\n")
            print(f"`{usage(program, name, verb)}`\n")
            if program == "edgedistill":
                row = VERBS[name]
                link = "../README.md" if row.page == "README.md" else row.page
                print(f"Example: `{row.example}`. Page: [{row.page}]({link}).\n")
            table = rows(verb)
            same = seen.get(tuple(table))
            if same and len(table) > 1:
                print(f"Options as of `{program} {same}`.")
            elif table:
                print("| | |\n|---|---|\n" + "\n".join(table))
            seen.setdefault(tuple(table), name)


if __name__ == "__main__":
    main()
