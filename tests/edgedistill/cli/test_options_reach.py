"""Each option of a verb reaches what it is for, past the command line and the function of the API."""

import inspect
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgedistill.cli.main import main
from edgedistill.deployment.request import Deployment, Source
from edgedistill.prediction.choose import Budget


class Reached(Exception):
    """The work would begin here."""


def arguments_at(monkeypatch, place, words):
    """Arguments by name that `module:function`, which is replaced, gets from a command."""
    module, name = place.split(":")
    signature = inspect.signature(getattr(import_module(module), name))

    def reached(*given, **named):
        raise Reached(signature.bind(*given, **named).arguments)

    monkeypatch.setattr(f"{module}.{name}", reached)
    with pytest.raises(Reached) as found:
        main(words.split())
    return {key: value for key, value in found.value.args[0].items() if key not in ("say", "self")}


SSH = "--root here --python py --ssh-config cfg"
BOARD = {"host": "h", "root": "here", "python": "py", "ssh_config": Path("cfg")}
CONNECTED, CHECK = "edgedistill.deployment.board:connected", "edgedistill.onnx_model.check"


@pytest.mark.parametrize(
    ("place", "words", "expected"),
    [
        (CONNECTED, f"status h {SSH}", BOARD),
        (CONNECTED, f"rollback h {SSH}", BOARD),
        (
            "edgedistill.deployment.timing:timed",
            "bench m.onnx --host h --backend onnxruntime --precision fp32 --runs 77 --python py --ssh-config cfg",
            {
                "networks": [Path("m.onnx")],
                "host": "h",
                "backend": "onnxruntime",
                "precision": "fp32",
                "runs": 77,
                "python": "py",
                "ssh_config": Path("cfg"),
            },
        ),
        (
            "edgedistill.prediction.model:predict",
            "estimate n --target tx2 --precision fp32 --image-px 96x160 --classes 7 --batch 3 --mode MAXQ",
            {
                "model": "n",
                "target": "tx2",
                "precision": "fp32",
                "image_px": (96, 160),
                "classes": 7,
                "mode": "MAXQ",
                "batch": 3,
            },
        ),
        (
            "edgedistill.prediction.choose:choose",
            "choose --target tx2 --precision fp32 --fps 20 --memory-mib 900 --camera --mode MAXQ --image-px 128 224 "
            "--classes 7",
            {
                "target": "tx2",
                "precision": "fp32",
                "budget": Budget(20, 900, camera=True),
                "sizes": (224, 128),
                "classes": 7,
                "mode": "MAXQ",
            },
        ),
        (
            f"{CHECK}:check",
            "check m.onnx --target tx2 --tensorrt 8.5",
            {"model": Path("m.onnx"), "target_name": "tx2", "tensorrt": "8.5"},
        ),
        (
            f"{CHECK}:fix",
            "check m.onnx --target tx2 --tensorrt 8.5 --fix o.onnx --shape a=1,3,8,9 --shape b=2",
            {
                "model": Path("m.onnx"),
                "target_name": "tx2",
                "out": Path("o.onnx"),
                "tensorrt": "8.5",
                "shapes": {"a": (1, 3, 8, 9), "b": (2,)},
            },
        ),
    ],
)
def test_what_is_typed_arrives(monkeypatch, place, words, expected):
    assert arguments_at(monkeypatch, place, words) == expected


def test_two_networks_to_compare_arrive_in_their_order(monkeypatch):
    words = "bench --compare b.onnx a.onnx"
    found = arguments_at(monkeypatch, "edgedistill.deployment.timing:timed", words)
    assert (found["networks"], found["host"], found["backend"]) == ([Path("b.onnx"), Path("a.onnx")], None, None)


def test_as_many_rows_as_were_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["choose", "--rows", "2"]) == 0
    numbers = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert numbers[:2] == ["1", "2"]
    assert "3" not in numbers


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("option", ["--compile", "--parse"])
def test_the_compiler_gets_the_file_that_was_asked_about_and_its_limits(monkeypatch, fixed, option):
    given = []
    for name in ("check", "fix"):
        monkeypatch.setattr(f"{CHECK}.{name}", lambda *_: {"fits": True, "findings": []})
    monkeypatch.setattr("edgedistill.api.questions._int8_of", lambda model, target: f"{target}: {model}")
    backend = SimpleNamespace(compiled=lambda *arguments: given.extend(arguments) or {"verdict": "builds"})
    monkeypatch.setattr("edgedistill.onnx_model.backends.backend_of", lambda target: backend)
    words = f"check m.onnx {option} --compile-seconds 7 --compile-mib 99 --json"
    assert main([*words.split(), *(["--fix", "o.onnx"] if fixed else [])]) == 0
    assert given == [Path("o.onnx" if fixed else "m.onnx"), 7, 99, option == "--parse"]


def test_a_board_is_enrolled_as_what_was_typed(monkeypatch):
    key = SimpleNamespace(name="release", public=Path("release.pem"), key_id="0" * 16)
    monkeypatch.setattr("edgedistill.bundles.keys.load_key", {"ours": key}.get)
    monkeypatch.setattr(CONNECTED.replace(":", "."), lambda *arguments: nullcontext(arguments[:4]))
    words = f"enrol h --target tx2 --key ours --backend onnxruntime {SSH}"
    assert arguments_at(monkeypatch, "edgedistill.deployment.enrol:enrol", words) == {
        "board": tuple(BOARD.values()),
        "target": "tx2",
        "backend": "onnxruntime",
        "key_name": "release",
        "public_pem": Path("release.pem"),
    }


@pytest.mark.parametrize(
    ("boards", "fields", "own"),
    [
        ("--host a --host b", {"hosts": ("a", "b")}, SSH),
        ("--fleet f.toml --group hall", {"fleet": Path("f.toml"), "group": "hall"}, "--ssh-config cfg"),
    ],
)
def test_a_bundle_is_deployed_as_was_typed(monkeypatch, boards, fields, own):
    monkeypatch.setattr("edgedistill.deployment.request.source_of", lambda what: nullcontext(Source(what, Path())))

    def reached(self, source, *_):
        raise Reached(self, source.bundle)

    for name in ("each_host", "through_fleet"):
        monkeypatch.setattr(Deployment, name, reached)
    words = f"deploy b {boards} --until bench --runs 70 --allow-downgrade --tune build {own}"
    with pytest.raises(Reached) as found:
        main(words.split())
    options = {"until": "bench", "runs": 70, "allow_downgrade": True, "tune": "build", "ssh_config": Path("cfg")}
    ssh = {"root": "here", "python": "py"} if own == SSH else {}
    assert found.value.args == (Deployment(**fields, **options, **ssh), Path("b"))
