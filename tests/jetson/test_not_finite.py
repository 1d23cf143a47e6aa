"""Outputs that are no numbers end `classify` with one line, and nothing that is printed is other than strict JSON."""

import io
import json
import os

import cv2
import numpy as np
import pytest

from bundles import make_bundle
from edgedistill_device.__main__ import main
from edgedistill_device.errors import BackendError, JetsonError
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.decide import answer
from edgedistill_device.inference.progress import Progress
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest


def strict(text):
    def refuse(word):
        raise AssertionError("%s is no JSON" % word)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def write_video(path):
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("source", ["images", "video", "overlay", "stats"])
def test_a_network_that_gives_nan_ends_classify_in_one_line(tmp_path, use, capsys, monkeypatch, source):
    """After it has passed: as a GPU that is too hot, or memory that went bad."""
    bundle, stats = make_bundle(tmp_path / "bundle"), str(tmp_path / "stats.json")
    use("8.2")
    for verb in ("build", "verify"):
        assert main([verb, "--bundle", bundle]) == 0
    use("8.2", nan=True)
    video = write_video(str(tmp_path / "v.avi"))
    words = {
        "images": [os.path.join(bundle, "golden", "images")],
        "video": [video],
        "overlay": ["--overlay", str(tmp_path / "o.avi"), video],
        "stats": ["--stats", stats, video],
    }
    monkeypatch.setattr(Progress, "begin", lambda self: None)  # no handlers of signals in this process
    capsys.readouterr()
    assert main(["classify", "--bundle", bundle] + words[source]) == 1
    out, error = capsys.readouterr()
    assert error == (
        "edgedistill_device classify: the network gives NaN or infinity here, which is no class; "
        "run: python3 -m edgedistill_device verify\n"
    )
    assert strict(out)[-1]["frames"] == 0
    if source == "stats":
        with open(stats) as file:
            assert strict(file.read())[-1]["top"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("live", [False, True])
def test_nor_does_a_camera_go_on_with_it(tmp_path, monkeypatch, bad, live):
    bundle = make_bundle(tmp_path / "bundle")

    class Camera(object):
        def read(self, array=None):
            return True, np.full((48, 64, 3), 90, np.uint8)

        def release(self):
            pass

    class Runner(object):
        calls = 0

        def infer(self, batch):
            self.calls += 1
            return np.array([[1.0, 2.0 if self.calls < 3 else bad]], np.float32)

    monkeypatch.setattr("edgedistill_device.inference.classify.open_capture", lambda *_: Camera())
    source = "csi://0" if live else write_video(str(tmp_path / "v.avi"))
    out = io.StringIO()
    with pytest.raises(BackendError, match="gives NaN or infinity here"):
        classify([source], read_manifest(bundle), Runner(), Asked(top=2, camera=(64, 48, 10)), Progress(), out)
    assert len(strict(out.getvalue())) == 2


def test_large_logits_are_still_numbers():
    found = answer(np.array([3e38, -3e38, 3e38], np.float32), ("a", "b", "c"), 3)["top"]
    assert [row["probability"] for row in found] == [0.5, 0.5, 0.0]


def test_what_is_printed_is_strict_json():
    assert json_text({"b": 1, "a": 0.5}) == '{"a": 0.5, "b": 1}'
    for value in (float("nan"), float("inf"), [{"x": -float("inf")}]):
        with pytest.raises(JetsonError, match="is NaN or infinite"):
            json_text({"a": value})


def test_no_module_of_the_board_prints_json_another_way():
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for place, _, names in os.walk(os.path.join(package, "jetson")):
        for name in names:
            if name.endswith(".py") and name not in ("json_text.py", "manifest.py"):
                with open(os.path.join(place, name), encoding="ascii") as file:
                    assert "json.dump" not in file.read(), name
