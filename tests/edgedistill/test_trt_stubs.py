"""edgedistill_device/engine/trt_api.py and the fakes against the names and signatures of NVIDIA's own bindings.

The stubs are in tests/jetson/stubs, see its README. For each release every `hasattr` of trt_api.py is
answered from the stub, and what remains is type-checked by mypy: names, numbers and types of arguments.
"""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import fakes
from edgedistill_device.engine import trt_api
from optional_tools import imported, lacking

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUBS = ROOT / "tests" / "jetson" / "stubs"
SOURCE = ROOT / "jetson" / "edgedistill_device" / "engine" / "trt_api.py"
# 8.2 is on no package index. Its code is checked with the types of 8.6, less what facts say it lacks.
STUB_OF = {
    "8.2": "8_6",
    "8.6": "8_6",
    "10.3": "10_3",
    "10.13": "10_13",
    "10.16": "10_16",
    "11": "11_0",
    "11.4": "11_4",
}
FAKE_OF = {"8.2": "8.2", "8.6": "8.6", "10.3": "10.3", "10.13": "10.3", "10.16": "10.16", "11": "11", "11.4": "11.4"}
OF_PARAMETER = {  # what a parameter or a variable of trt_api.py holds
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "parser": "OnnxParser",
    "runtime": "Runtime",
    "inspector": "EngineInspector",
    "cache": "ITimingCache",
    "flag": "NetworkDefinitionCreationFlag",
}
# Called only where features() says so: see precision.choose.
ONLY_WITH = {"set_calibration_cache": "IInt8EntropyCalibrator2"}
HEAD = (
    "from typing import Any\nimport {module} as trt\n"
    "class _Log(trt.ILogger):\n    errors: list[str]\n    warnings: list[str]\n"
)


def names_of(stub: str) -> dict[str, set[str]]:
    """{class: its attributes}, and {"trt": the classes}."""
    module = ast.parse((STUBS / f"tensorrt_{stub}.pyi").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {"trt": {"__version__"}}

    def visit(node: ast.ClassDef, prefix: str) -> None:
        known = found.setdefault(prefix + node.name, set())
        for item in node.body:
            if isinstance(item, ast.FunctionDef | ast.ClassDef):
                known.add(item.name)
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                known.add(item.target.id)
            if isinstance(item, ast.ClassDef):
                visit(item, f"{prefix}{node.name}.")

    for node in module.body:
        if isinstance(node, ast.ClassDef):
            found["trt"].add(node.name)
            visit(node, "")
    return found


def names_for(release: str) -> dict[str, set[str]]:
    found = names_of(STUB_OF[release])
    if release == "8.2":
        for name, releases in fakes.ONLY_IN.items():
            owner, attribute = name.replace("module.", "trt.").split(".")
            if "8.2" not in releases:
                found[owner].discard(attribute)
    return found


def owner_of(node: ast.expr) -> str | None:
    """The stub's class that an expression of trt_api.py holds."""
    if isinstance(node, ast.Name):
        return "trt" if node.id == "trt" else OF_PARAMETER.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trt":
        return node.attr
    return None


class Settled(ast.NodeTransformer):
    """trt_api.py as one release sees it: `hasattr` is True or False, parameters have their types."""

    def __init__(self, names: dict[str, set[str]]) -> None:
        self.names, self.asked = names, set[str]()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            owner, name = owner_of(node.args[0]), node.args[1]
            if owner and isinstance(name, ast.Constant):
                self.asked.add(f"{owner}.{name.value}")
                if node.func.id == "hasattr":
                    return ast.Constant(name.value in self.names.get(owner, set()))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef | None:
        if node.name in ONLY_WITH and ONLY_WITH[node.name] not in self.names["trt"]:
            return None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if node.arg == "trt":
            node.arg = "_trt"  # the module of the head is meant
        elif node.arg == "log":
            node.annotation = ast.Name("_Log")
        elif owner := OF_PARAMETER.get(node.arg):
            node.annotation = ast.Attribute(ast.Name("trt"), owner)
        return node


def settled(source: str, release: str) -> str:
    tree = Settled(names_for(release)).visit(ast.parse(source))
    return HEAD.format(module=f"tensorrt_{STUB_OF[release]}") + ast.unparse(tree)


def complaints(sources: dict[str, str], folder: Path) -> dict[str, dict[str, list[str]]]:
    """{source: {release: what mypy says of it as that release sees it}}, in one run."""
    for stub in STUBS.glob("*.pyi"):
        (folder / stub.name).write_text(stub.read_text(encoding="utf-8"), encoding="utf-8")
    files = {}
    for number, (label, source) in enumerate(sources.items()):
        for release in STUB_OF:
            path = folder / f"api_{number}_{release.replace('.', '_')}.py"
            path.write_text(settled(source, release), encoding="utf-8")
            files[path.name] = label, release
    command = [
        "-m",
        "mypy",
        "--check-untyped-defs",
        "--ignore-missing-imports",
        "--no-error-summary",
        "--follow-imports=silent",
        "--no-site-packages",
        "--hide-error-context",
        f"--cache-dir={folder / 'cache'}",
        *files,
    ]
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, dict[str, list[str]]] = {label: {release: [] for release in STUB_OF} for label in sources}
    for line in done.stdout.splitlines():
        where = files.get(line.split(":")[0])  # not what it says of the stubs' own overloads
        if where and ": error: " in line:
            found[where[0]][where[1]].append(line)
    return found


MISTAKES = [
    ("config.set_timing_cache(cache, False)", "config.set_timing_cach(cache, False)", set(STUB_OF)),
    ("config.set_timing_cache(cache, False)", "config.set_timing_cache(cache)", set(STUB_OF)),
    ("trt.TacticSource.__members__", "trt.TacticSources.__members__", set(STUB_OF)),
    ("context.execute_async_v3", "context.execute_async_v4", {"8.6", "10.3", "10.13", "10.16", "11", "11.4"}),
    ("engine.get_binding_dtype(number)", "engine.get_binding_type(number)", {"8.2"}),
    ("flag.STRONGLY_TYPED)", "flag.STRONG_TYPED)", {"11", "11.4"}),
    ("config.max_workspace_size = size", "config.workspace_size = size", {"8.2"}),
    ("trt.Runtime(log)", "trt.Runtime(log, 1)", set(STUB_OF)),
    ("context.execute_v2(", "context.execute_v2(1, ", set(STUB_OF)),
    ("class Times(trt.IProfiler)", "class Times(trt.Profilers)", set(STUB_OF)),
    ("return builder.create_network(bits)", "return builder.create_network('x')", set(STUB_OF)),
    ('if hasattr(config, "set_memory_pool_limit"):', "if False:", {"10.3", "10.13", "10.16", "11", "11.4"}),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, list[str]]]:
    """What mypy says of trt_api.py ("ours"), and of it with each of the mistakes: one run."""
    if importlib.util.find_spec("mypy") is None:
        lacking("mypy", "make install")
    source = SOURCE.read_text(encoding="utf-8")
    assert all(right in source for right, _, _ in MISTAKES)
    wrongs = {wrong: source.replace(right, wrong) for right, wrong, _ in MISTAKES}
    return complaints({"ours": source, **wrongs}, tmp_path_factory.mktemp("mypy"))


def test_every_release_takes_what_trt_api_asks_of_it(found):
    said = [line for lines in found["ours"].values() for line in lines]
    assert not said, "\n".join(said)


@pytest.mark.parametrize("wrong", [wrong for _, wrong, _ in MISTAKES])
def test_a_misspelt_name_or_a_wrong_argument_is_found(found, wrong):
    """In each release that reaches the line, and in no other."""
    expected = next(releases for _, w, releases in MISTAKES if w == wrong)
    assert {release for release, lines in found[wrong].items() if lines} == expected


def test_every_name_that_is_asked_with_hasattr_exists_in_some_release():
    """A misspelt one would be False everywhere, and no type checker would see it."""
    settler = Settled(names_for("11"))
    settler.visit(ast.parse(SOURCE.read_text(encoding="utf-8")))
    known = {f"{owner}.{name}" for release in STUB_OF for owner, names in names_for(release).items() for name in names}
    assert len(settler.asked) >= 10
    assert settler.asked <= known, f"no release has {sorted(settler.asked - known)}"


@pytest.mark.parametrize("release", STUB_OF)
def test_what_is_asked_outside_of_trt_api_is_there(release):
    names = names_for(release)
    assert "create_builder_config" in names["Builder"]
    assert "create_execution_context" in names["ICudaEngine"]
    assert {"Builder", "Runtime", "OnnxParser"} <= names["trt"]


@pytest.mark.parametrize("release", list(fakes.RELEASES))
def test_a_fake_has_nothing_that_its_release_lacks(release):
    """Of 8.2 it can only be said that 8.6 has it: its bindings are on no package index."""
    names = names_for(release)
    world = fakes.World(release, dict(fakes.BEHAVIOUR))
    module = world.tensorrt()
    assert set(module) <= names["trt"], set(module) - names["trt"]
    whole = dict(
        module,
        INetworkDefinition=world.only(fakes.INetworkDefinition),
        IBuilderConfig=world.only(fakes.IBuilderConfig),
        ICudaEngine=world.only(fakes.ICudaEngine),
        IExecutionContext=world.only(fakes.IExecutionContext),
    )
    for name, made in whole.items():
        if name != "__version__":
            public = {key for key in vars(made) if key[0] != "_"} - {"world"}
            assert public <= names[name], f"{name}: {sorted(public - names[name])}"
    severities = {key for key in vars(module["ILogger"].Severity) if key.isupper()}
    assert severities <= names["ILogger.Severity"]


@pytest.mark.parametrize("release", [release for release in fakes.RELEASES if release != "8.2"])
def test_a_fake_lacks_nothing_that_the_board_code_would_find(release):
    """hasattr must answer for the fake as it does for the release, or the wrong branch is tested."""
    settler = Settled(names_for(release))
    settler.visit(ast.parse(SOURCE.read_text(encoding="utf-8")))
    world = fakes.World(release, dict(fakes.BEHAVIOUR))
    module = world.tensorrt()
    for asked in settler.asked:
        owner, name = asked.split(".")
        if owner == "trt":
            has = name in module
        else:
            has = hasattr(module.get(owner) or world.only(getattr(fakes, owner)), name)
        assert has == (name in settler.names[owner]), asked


def test_the_stub_of_an_installed_module_is_made_the_same_way():
    """TensorRT for RTX is the one module of the family that this project installs."""
    module = imported("tensorrt_rtx", "make install")
    spec = importlib.util.spec_from_file_location("make_stubs", STUBS / "make_stubs.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    found = ast.parse(made.stub_of(module))
    classes = {
        node.name: {getattr(item, "name", None) for item in node.body}
        for node in found.body
        if isinstance(node, ast.ClassDef)
    }
    for name, members in classes.items():
        real = set(dir(getattr(module, name)))
        assert {m for m in members if m and m[0] != "_"} <= real
    assert {"set_memory_pool_limit", "set_timing_cache"} <= classes["IBuilderConfig"]


def test_an_installed_module_takes_the_builders_settings():
    trt = imported("tensorrt_rtx", "make install")
    log = trt_api.make_log(trt)
    builder = trt.Builder(log)
    config = builder.create_builder_config()
    trt_api.set_builder(config, **trt_api.BUILDER)
    before = config.builder_optimization_level
    assert config.avg_timing_iterations == trt_api.BUILDER["timing_iterations"] == 8
    trt_api.set_builder(config, timing_iterations=32, optimization_level=5)
    assert (config.avg_timing_iterations, config.builder_optimization_level) == (32, 5)
    assert before != 5
