import filecmp
import json
import os

import pytest

from bundles import make_bundle, sign
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import read_manifest

ENTRY = {"sha256": "0" * 64, "bytes": 1}


def edit(bundle, **changes):
    path = os.path.join(bundle, "manifest.json")
    with open(path, encoding="utf-8") as file:
        stored = json.load(file)
    stored.update(changes)
    stored = {key: value for key, value in stored.items() if value != "DROP"}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(stored, file)


def test_equal_folders_give_equal_manifests(tmp_path, bundle):
    other = make_bundle(tmp_path / "other")
    for name in ("manifest.json", "model.onnx"):
        assert filecmp.cmp(os.path.join(bundle, name), os.path.join(other, name), shallow=False)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"version": 1}, "version 1, this code reads 2"),
        ({"model": "DROP"}, "keys missing ['model'], unknown []"),
        ({"extra": 1}, "unknown ['extra']"),
        ({"classes": "red"}, "classes is 'red', which edgedistill does not write"),
        ({"serial": True}, "serial is True"),
        ({"serial": 1.5}, "serial is 1.5"),
        ({"memory_budget_mib": "little"}, "memory_budget_mib is 'little'"),
        ({"task": 1}, "task is 1"),
        ({"task": "detection"}, "task 'detection'; this code runs classification"),
        ({"preprocess": {}}, "preprocess: expected the keys"),
        ({"files": {"../secret": ENTRY}}, "'../secret' is not a file name that a bundle may have"),
        ({"files": {"/etc/passwd": ENTRY}}, "is not a file name"),
        ({"files": {"a//b": ENTRY}}, "is not a file name"),
        ({"files": {"a/./b": ENTRY}}, "is not a file name"),
        ({"files": {"a\\b": ENTRY}}, "is not a file name"),
        ({"files": {"a\n": ENTRY}}, "is not a file name"),
        ({"files": {"manifest.json.sig": ENTRY}}, "is not a file name"),
        ({"files": {"none.bin": ENTRY}}, "none.bin is missing"),
        ({"files": {"none.bin": "00"}}, "expected sha256 and bytes"),
        ({"files": {"none.bin": dict(ENTRY, bytes=-1)}}, "-1 bytes"),
        ({"files": {"none.bin": dict(ENTRY, bytes=True)}}, "malformed"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(bundle, changes, line):
    edit(bundle, **changes)
    with pytest.raises(ManifestError) as error:
        read_manifest(bundle)
    assert line in str(error.value)


def test_a_memory_budget_is_a_key_only_where_there_is_one(bundle):
    """Manifests of before it stay valid, and agents of before it read those without."""
    for budget in (None, 500):
        sign(bundle, memory_budget_mib=budget)
        with open(os.path.join(bundle, "manifest.json"), encoding="utf-8") as file:
            assert json.load(file).get("memory_budget_mib", "no key") == (budget or "no key")
        assert read_manifest(bundle).memory_budget_mib == budget


def test_a_manifest_without_a_task_is_of_a_classifier(bundle):
    """So were all of before the key, whose agents know no other key."""
    with open(os.path.join(bundle, "manifest.json"), encoding="utf-8") as file:
        assert "task" not in json.load(file)
    assert read_manifest(bundle).task == "classification"
    edit(bundle, task="classification")
    assert read_manifest(bundle).task == "classification"


def test_every_byte_of_every_file_counts(bundle):
    path = os.path.join(bundle, "edgedistill_device", "benchmark", "bench.py")
    with open(path, "a") as file:
        file.write("#")
    with pytest.raises(
        ManifestError,
        match="edgedistill_device/benchmark/bench.py has .* bytes, manifest says .*copy the bundle again",
    ):
        read_manifest(bundle)


@pytest.mark.parametrize(
    "name", ["edgedistill_device/benchmark/bench.py", "model.onnx", "golden/logits.npy", "golden/labels.json"]
)
@pytest.mark.parametrize("at", [0, -1])
def test_a_bit_of_a_file_counts_though_its_size_stays(bundle, name, at):
    path = os.path.join(bundle, name)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    content[at] ^= 1
    with open(path, "wb") as file:
        file.write(bytes(content))
    with pytest.raises(ManifestError, match=name + " has sha256 .*, manifest says .*copy the bundle again"):
        read_manifest(bundle)


def test_a_file_more_is_refused(bundle):
    with open(os.path.join(bundle, "edgedistill_device", "more.py"), "w") as file:
        file.write("")
    with pytest.raises(ManifestError, match="edgedistill_device/more.py is not in the manifest"):
        read_manifest(bundle)


def test_a_link_out_of_the_bundle_is_refused(bundle, tmp_path):
    (tmp_path / "outside.txt").write_text("x")
    os.symlink(str(tmp_path / "outside.txt"), os.path.join(bundle, "link.txt"))
    with pytest.raises(ManifestError, match="is a link"):
        sign(bundle)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"version": 2, "version": 2}', b'{"version": NaN}', b"\xff", b"[" * 100000],
)
def test_damaged_json_is_refused(bundle, content):
    with open(os.path.join(bundle, "manifest.json"), "wb") as file:
        file.write(content)
    with pytest.raises(ManifestError):
        read_manifest(bundle)
