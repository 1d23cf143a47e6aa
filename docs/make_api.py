"""Print docs/api.md from docstrings, without importing anything: python docs/make_api.py > docs/api.md"""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "edgedistill"
PAGES = (  # heading, module
    ("A recipe", "api/runs.py"),
    ("Results", "api/results.py"),
    ("Classes of images", "api/predictions.py"),
    ("Boards", "api/boards.py"),
    ("Questions", "api/questions.py"),
    ("Keys and completion", "api/terminal.py"),
    ("What they take and give", "api/types.py"),
    ("Losses", "distillation/losses.py"),
)
HEAD = """# Python

Made by `python docs/make_api.py > docs/api.md`; do not edit. [examples/](examples/) has a script for each
task, all of them executed by a test.

Every verb of the command line is a function of `edgedistill` with the same words. `teacher` is called
`train_teacher`; `data`, `schedule`, `synthesise` and `assist` are `edgedistill.stage("NAME", ...)`."""
SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Source):\s*(.*)$")

LISTED = ("Args", "Raises", "Attributes")


def markdown(docstring: str) -> str:
    """Sections as bold words, their entries as a list."""
    lines, inside = [], ""
    for line in docstring.splitlines():
        section = SECTION.match(line)
        if section:
            inside = section[1]
            lines.append(f"**{section[1]}**: {section[2]}".rstrip(": "))
            if not section[2]:
                lines[-1] = f"**{section[1]}**\n"
        elif inside in LISTED and re.match(r"^    \w+(, \w+)*: ", line):
            name, _, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}")
        else:
            lines.append(line.strip() if inside else line)
    return "\n".join(lines)


def signature(node: ast.FunctionDef) -> str:
    given = ast.unparse(node.args)
    return f"{node.name}({given}) -> {ast.unparse(node.returns)}"


def entries(path: Path) -> list[str]:
    found: list[str] = []
    titles: list[str] = []  # of one function, as often as it is overloaded
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        titles.append(signature(node) if isinstance(node, ast.FunctionDef) else f"class {node.name}")
        if any(ast.unparse(mark) == "overload" for mark in node.decorator_list):
            continue  # its text stands at the last one
        title = "\n".join(titles[:-1] or titles)
        titles.clear()
        found.append(f"### {node.name}\n\n```python\n{title}\n```\n\n{markdown(ast.get_docstring(node))}")
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                returns = ast.unparse(part.returns)
                found.append(f"`{node.name}.{part.name}`: `{returns}`. {ast.get_docstring(part)}")
    return found


def main() -> None:
    print(HEAD)
    for heading, module in PAGES:
        path = PACKAGE / module
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        about = re.sub(r"(?m)^    (.+(?:\n    .+)*)", r"```python\n\g<0>\n```", about)
        about = re.sub(r"(?m)^    ", "", about)
        print(f"\n## {heading}: `edgedistill/{module}`\n\n{about}")
        for entry in entries(path):
            print(f"\n{entry}")


if __name__ == "__main__":
    main()
