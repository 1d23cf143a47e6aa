"""What may import what, what the board can run, and where things lie: read from the sources."""

import argparse
import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgedistill.cli.main import build_parser
from edgedistill.config.recipe import Recipe
from edgedistill.pipeline.table import STAGES
from edgedistill_device.__main__ import build_parser as device_parser
from optional_tools import lacking

ROOT = Path(__file__).parents[1]
PACKAGES = ("edgedistill", "jetson", "calibration")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines; a docstring is not held against a function
TOP_LEVEL = {
    *PACKAGES,
    "tests",
    "docker",
    "assets",
    "docs",
    "benchmarks",
    "Makefile",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "pyproject.toml",
    "constraints.txt",
}
MAY_IMPORT = {  # package -> what its modules import when they are imported; None: anything
    "edgedistill": None,
    "jetson": {"numpy", "edgedistill_device", "edgedistill_calibration", *sys.stdlib_module_names},
    "calibration": {"numpy", "edgedistill_calibration", *sys.stdlib_module_names},
}
LATE = {  # package -> what its functions may import besides
    "edgedistill": None,
    "jetson": {"cv2", "tensorrt", "pycuda", "onnxruntime"},
    "calibration": {"tensorrt"},
}
NOT_AT_IMPORT = {"edgedistill": {"tensorrt", "pycuda"}}
NEVER = {
    "edgedistill": set(),
    "jetson": {"edgedistill", "torch", "onnx", "dataclasses"},
    "calibration": {"edgedistill", "edgedistill_device", "torch", "onnx", "dataclasses"},
}


def tracked() -> list[Path]:
    """Files that git tracks or would add, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lacking("git checkout", "run in a clone")
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).is_file()]


@functools.cache
def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a module, the module itself first."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def imports(path: Path) -> list[tuple[str, bool, int]]:
    """(top-level name, executed when the module is imported, line) of each import."""
    found = []

    def visit(node: ast.AST, now: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                continue  # holds no statement
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, ast.Import):
                found.extend((name.name.split(".")[0], now, child.lineno) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                found.append((child.module.split(".")[0], now, child.lineno))
            visit(child, now and not inside and not checking)

    visit(nodes(path)[0], True)
    return found


@pytest.fixture(scope="module", autouse=True)
def forgotten():
    """What was parsed does not stay for the tests of other modules."""
    yield
    nodes.cache_clear()


def none(offenders: list[str]) -> None:
    assert not offenders, "\n" + "\n".join(offenders)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    offenders = []
    for path in sources(package):
        for name, now, line in imports(path):
            where = f"{path.relative_to(ROOT)}:{line}: imports {name}"
            allowed = MAY_IMPORT[package]
            if allowed is not None and not now:
                allowed = allowed | LATE[package]
            if name in NEVER[package] or (allowed is not None and name not in allowed):
                offenders.append(where)
            if now and name in NOT_AT_IMPORT.get(package, ()):
                offenders.append(f"{where} at module level")
    none(offenders)


@pytest.mark.parametrize("path", sources("jetson", "calibration"), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_device_source_is_for_python_3_6(path):
    text = path.read_bytes()
    assert text.isascii(), f"{path}: not ASCII; `ssh` without a locale cannot print it on 3.6"
    ast.parse(text, str(path), feature_version=(3, 6))
    for node in nodes(path):  # the parser lets it pass, 3.6 does not
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            assert "annotations" not in {name.name for name in node.names}


def test_device_files_are_opened_with_an_encoding():
    """Python 3.6 under LC_ALL=C reads text as ASCII."""
    offenders = []
    for path in sources("jetson", "calibration"):
        for node in nodes(path):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open":
                modes = [arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)]
                binary = any("b" in mode for mode in modes)
                if not binary and "encoding" not in {keyword.arg for keyword in node.keywords}:
                    offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    none(offenders)


def test_files_and_functions_are_short():
    offenders = []
    for path in sources(*PACKAGES):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            offenders.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = (ast.get_docstring(node, clean=False) or "").count("\n") + 1
                length = node.end_lineno - node.lineno + 1 - docstring
                if length > LONGEST_FUNCTION:
                    offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}, {length} lines")
    none(offenders)


def test_no_two_test_modules_have_one_name():
    """pytest imports them by their bare name, and two of one name not at all."""
    names = [path.name for path in sources("tests") if path.name.startswith("test_")]
    none([name for name in sorted(set(names)) if names.count(name) > 1])


def test_no_module_is_a_drawer_for_everything():
    none([str(path) for path in tracked() if re.fullmatch(r"(utils?|helpers?|misc|common)\.py", path.name)])


def dangers(node: ast.AST) -> str | None:
    """What is wrong with a call or an import, or None."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {name.name.split(".")[0] for name in node.names} | {getattr(node, "module", None)}
        banned = names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
        return f"imports {banned.pop()}" if banned else None
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called in {
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
        "torch.hub.load",
        "yaml.load",
        "tempfile.mktemp",
        "shutil.unpack_archive",
    } or called.endswith(".extractall"):
        return f"calls {called}"
    if given.get("shell", "False") != "False":
        return f"{called} with shell=True"
    if called == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if called in {"np.load", "numpy.load"} and given.get("allow_pickle") != "False":  # True until numpy 1.16.3
        return "np.load without allow_pickle=False"
    if called.endswith((".get_state_dict", ".load_state_dict_from_url")):  # torchvision's default is pickle
        return f"calls {called}"
    return None


def test_nothing_runs_code_from_data():
    none(
        [
            f"{path.relative_to(ROOT)}:{node.lineno}: {why}"
            for path in sources(*PACKAGES)
            for node in nodes(path)
            if (why := dangers(node))
        ]
    )


@pytest.mark.slow
def test_every_program_is_started_without_the_passphrase():
    """Of all environments only one function makes one."""
    started = [
        (path, node)
        for path in sources("edgedistill")
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in {
            "subprocess.run",
            "subprocess.Popen",
            "subprocess.check_output",
            "subprocess.call",
            "os.execv",
            "os.execvp",
            "os.posix_spawn",
            "subprocess.check_call",
        }
    ]
    assert started
    none(
        [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path, node in started
            if not any(keyword.arg == "env" for keyword in node.keywords)
        ]
    )
    none(
        [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path in sources("edgedistill")
            for node in nodes(path)
            if path.name != "secret_values.py"
            and isinstance(node, ast.Dict | ast.Call)
            and ast.unparse(node) in {"{**os.environ}", "dict(os.environ)", "os.environ.copy()", "os.environ.items()"}
        ]
    )


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "get_model_weights(name).DEFAULT.get_state_dict()",
        "yaml.load(text)",
        "tar.extractall(path)",
        "__import__(name)",
        "subprocess.getoutput('ls')",
        "torch.hub.load('x', 'y')",
    ],
)
def test_the_search_for_dangers_finds(text):
    assert any(dangers(node) for node in ast.walk(ast.parse(text)))


def test_every_artifact_is_written_before_it_is_read():
    written = set()
    for stage in STAGES:
        assert set(stage.reads) <= written, f"{stage.name} reads what no earlier stage writes"
        written.add(stage.name)
    assert len(written) == len(STAGES), "two stages of one name"


def test_a_stage_is_a_file_with_run():
    files = {path.stem for path in sources("edgedistill/stages") if path.stem != "__init__"}
    assert files == {stage.name for stage in STAGES}
    for stage in STAGES:
        module = nodes(ROOT / "edgedistill" / "stages" / f"{stage.name}.py")[0]
        functions = {n.name: n for n in module.body if isinstance(n, ast.FunctionDef)}
        assert [arg.arg for arg in functions["run"].args.args] == ["context"], stage.name


def test_a_stage_reads_what_its_row_says():
    """A read that the row does not name would not make the artifact stale.

    Its own former artifact a stage may read: what it keeps of it changes nothing.
    """
    for stage in STAGES:
        text = (ROOT / "edgedistill" / "stages" / f"{stage.name}.py").read_text(encoding="utf-8")
        named = set(re.findall(r'\.(?:values|file|folder)\("(\w+)"', text))
        unnamed = named - set(stage.reads) - {stage.name}
        assert not unnamed, f"{stage.name} reads {unnamed}"


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


def test_a_stage_is_a_verb():
    assert {stage.name for stage in STAGES} <= set(verbs(build_parser()))


COMMANDS = [
    (program, verb, parser)
    for program, parsers in (("edgedistill", verbs(build_parser())), ("-m edgedistill_device", verbs(device_parser())))
    for verb, parser in sorted(parsers.items())
]


@functools.cache
def documentation() -> str:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages if page.exists())


@pytest.mark.parametrize(("program", "verb", "parser"), COMMANDS, ids=[f"{c[0]} {c[1]}" for c in COMMANDS])
def test_verb_and_its_options_are_documented(program, verb, parser):
    text = documentation()
    options = {option for action in parser._actions for option in action.option_strings}
    wanted = {option: re.escape(option) + r"(?![\w-])" for option in options - {"--help"} if option.startswith("--")}
    wanted[f"{program} {verb}"] = rf"{program} {verb}\b|`{verb}`"
    missing = sorted(word for word, pattern in wanted.items() if not re.search(pattern, text))
    assert not missing, f"neither README.md nor docs/ mentions {', '.join(missing)}"


def test_every_recipe_key_is_in_the_reference():
    reference = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    sections = {name: field.annotation.model_fields for name, field in Recipe.model_fields.items()}
    keys = [f"{section}.{key}" for section, known in sections.items() for key in known]
    missing = [key for key in keys if f"`{key}`" not in reference]
    assert not missing, f"docs/recipe.md lacks {missing}: run `python docs/make_recipe.py`"


def test_only_known_names_lie_at_the_top():
    found = {path.parts[0] for path in tracked()}
    unknown = {name for name in found - TOP_LEVEL if not name.startswith(".")}
    assert not unknown, f"unknown at the top: {sorted(unknown)}"


# Written in pieces, so that this file does not find itself.
MACHINE = re.compile(
    r"(?<![\w.])/(?:" + "ho" + r"me/(?!edge/|edge$)\w|ro" + r"ot/|wo" + r"rk/|Us" + r"ers/\w|mnt/\w)"
    r"|\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b(?!-\d+\+)"  # but 10.3.0.30-1+cuda12.5
    r"|--(?:extra-)?index-" + "url|--find-" + "links"
)


def test_nothing_names_one_machine():
    offenders = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        for number, line in enumerate(text.splitlines(), start=1):
            if match := MACHINE.search(line):
                offenders.append(f"{path}:{number}: {match.group()}")
    none(offenders)


def test_architecture_md_says_what_the_packages_say_of_themselves():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if "containers" in contract}
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", page, re.M)
    levels = {name: level for level, names in enumerate(reversed(layers["edgedistill"])) for name in names.split(" | ")}
    assert {name: int(level) for level, name, _ in rows} == {
        name: level for name, level in levels.items() if not name.startswith("_")
    }
    board = re.findall(r"^\| `(\w+)` \| (.+) \|$", page.partition("## The board")[2], re.M)[1:]
    assert {name for name, _ in board} == {
        path.parent.name for path in (ROOT / "jetson" / "edgedistill_device").glob("*/__init__.py")
    }
    for folder, pairs in (("edgedistill", [row[1:] for row in rows]), ("jetson/edgedistill_device", board)):
        for name, line in pairs:
            path = ROOT / folder / name / "__init__.py"
            module = nodes(path if path.exists() else path.parent.with_suffix(".py"))[0]
            docstring = ast.get_docstring(module)
            assert docstring.splitlines()[0] == line, name
    for path in re.findall(r"`((?:edgedistill_device/)?[a-z_]+/[a-z_]*(?:\.py)?)`", page):
        start = ROOT / "jetson" if path.startswith("edgedistill_device") else ROOT / "edgedistill"
        assert (start / path).exists() or (ROOT / path).exists(), path
