"""The bundle as others carry it; oracles: GNU tar, sha256 by hand, mender-artifact, skopeo."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest

from edgedistill.bundles import formats
from edgedistill.bundles.archive import unpack_archive, write_archive
from edgedistill.bundles.formats import export_bundle
from edgedistill.bundles.keys import new_key
from edgedistill.bundles.signing import sign_bundle
from edgedistill.errors import BundleError
from edgedistill_device.manifest import NAME, SIGNATURE, read_manifest
from optional_tools import needs

pytestmark = pytest.mark.slow

KINDS = ["archive", "folder", "oci"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    new_key("release", folder)
    return folder


@pytest.fixture(scope="module")
def signed(finished_run, tmp_path_factory, keys):
    """The finished run's bundle, signed; only read."""
    bundle = tmp_path_factory.mktemp("signed") / "bundle"
    shutil.copytree(finished_run / "runs" / "r" / "bundle" / "bundle", bundle)
    sign_bundle(bundle, "release", keys=keys)
    return bundle


@pytest.fixture
def mine(signed, tmp_path):
    """A copy to break."""
    return shutil.copytree(signed, tmp_path / "mine")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_archive_is_what_gnu_tar_makes(signed, tmp_path):
    made = write_archive(signed, tmp_path / "b.edb.tar")
    names = [NAME, SIGNATURE, *sorted(read_manifest(signed).files)]
    theirs = subprocess.run(
        [
            "tar",
            "-C",
            signed,
            "--format=ustar",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=0644",
            "--mtime=@0",
            "-b",
            "1",
            "-cf",
            "-",
            *names,
        ],
        capture_output=True,
        check=True,
    ).stdout
    ours = (tmp_path / "b.edb.tar").read_bytes()
    assert ours == theirs
    assert made == {"bytes": len(ours), "sha256": sha256(ours)}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bundles_give_equal_bytes(signed, mine, tmp_path, kind):
    """Neither what verbs left nor times, modes and order on the disk go in."""
    (mine / "work").mkdir()
    (mine / "work" / "bench.json").write_text("{}")
    (mine / "edgedistill_device" / "__pycache__").mkdir()
    (mine / "edgedistill_device" / "__pycache__" / "x.pyc").write_bytes(b"x")
    for path in mine.rglob("*"):
        os.utime(path, (1, 1))
    (mine / "classes.txt").chmod(0o600)
    first, second = (export_bundle(bundle, kind, tmp_path / name) for bundle, name in ((signed, "a"), (mine, "b")))
    assert {**first, "path": ""} == {**second, "path": ""}
    if kind == "archive":
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    else:
        assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_an_archive_becomes_the_bundle_again(signed, tmp_path):
    write_archive(signed, tmp_path / "b.edb.tar")
    again = unpack_archive(tmp_path / "b.edb.tar", tmp_path)
    assert again == tmp_path / "b"
    assert content_of(again) == content_of(signed)
    read_manifest(again)


def test_a_broken_archive_is_refused_and_leaves_nothing(signed, tmp_path):
    write_archive(signed, tmp_path / "b.edb.tar")
    raw = (tmp_path / "b.edb.tar").read_bytes()
    (tmp_path / "empty").mkdir()
    for broken in (raw[:-1500], raw[:-2000] + b"x" + raw[-1999:], raw + b"x", b"", b"PK" * 1000):
        (tmp_path / "b.edb.tar").write_bytes(broken)
        with pytest.raises(BundleError, match="b.edb.tar: archive: ") as caught:
            unpack_archive(tmp_path / "b.edb.tar", tmp_path / "empty")
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path / "empty") == []


@pytest.mark.parametrize("kind", [*KINDS, "mender"])
def test_what_is_not_signed_or_not_whole_goes_nowhere(mine, tmp_path, kind):
    (tmp_path / "out").mkdir()
    (mine / "classes.txt").write_text("other\n")
    with pytest.raises(BundleError, match=r"classes\.txt has .*copy the bundle again"):
        export_bundle(mine, kind, tmp_path / "out" / "b")
    (mine / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="is not signed, and a board takes only signed bundles"):
        export_bundle(mine, kind, tmp_path / "out" / "b")
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_of_something_else_is_never_replaced(signed, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for kind in KINDS:
        with pytest.raises(BundleError, match="is a folder, but not a .* that edgedistill wrote"):
            export_bundle(signed, kind, tmp_path / "thesis")
    assert content_of(tmp_path) == {"thesis/chapter.txt": b"years of work"}
    export_bundle(signed, "folder", tmp_path / "b.edb")
    export_bundle(signed, "folder", tmp_path / "b.edb")  # its own kind is


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_export_left_is_neither_exported_nor_kept(signed, tmp_path, kind):
    for left in ("b.partial", ".b.old"):
        (tmp_path / left / "golden").mkdir(parents=True)
        (tmp_path / left / "golden" / "stray.txt").write_text("of another bundle")
    export_bundle(signed, kind, tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]
    assert not any("stray" in name for name in content_of(tmp_path))


def test_an_export_that_fails_leaves_the_one_before(signed, tmp_path, monkeypatch):
    export_bundle(signed, "archive", tmp_path / "b.edb.tar")
    before = (tmp_path / "b.edb.tar").read_bytes()

    def full(bundle, out):
        out.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats.FORMATS, "archive", formats.FORMATS["archive"]._replace(write=full))
    with pytest.raises(BundleError, match="No space left on device"):
        export_bundle(signed, "archive", tmp_path / "b.edb.tar")
    assert content_of(tmp_path) == {"b.edb.tar": before}


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_an_export_that_cannot_be_put_in_place_leaves_the_one_before(signed, tmp_path, monkeypatch, kind):
    export_bundle(signed, kind, tmp_path / "b")
    before, replace = content_of(tmp_path), os.replace

    def broken(source, to):
        if source.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        replace(source, to)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(BundleError, match="Input/output error"):
        export_bundle(signed, kind, tmp_path / "b")
    assert content_of(tmp_path) == before


def blob(layout, descriptor):
    """A blob of an OCI layout, its digest and size checked."""
    algorithm, digest = descriptor["digest"].split(":")
    content = (layout / "blobs" / algorithm / digest).read_bytes()
    assert (sha256(content), len(content)) == (digest, descriptor["size"])
    return content


def test_the_oci_layout_holds_the_archive_as_its_one_layer(signed, tmp_path):
    made = export_bundle(signed, "oci", tmp_path / "b.oci")
    write_archive(signed, tmp_path / "b.edb.tar")
    layout = tmp_path / "b.oci"
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (image,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert made["digest"] == image["digest"]
    manifest = json.loads(blob(layout, image))
    (layer,) = manifest["layers"]
    assert blob(layout, layer) == (tmp_path / "b.edb.tar").read_bytes()
    config = json.loads(blob(layout, manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    assert len(os.listdir(layout / "blobs" / "sha256")) == 3


def test_skopeo_reads_the_oci_layout(signed, tmp_path):
    needs("skopeo", "skopeo")
    made = export_bundle(signed, "oci", tmp_path / "b.oci")
    done = subprocess.run(
        ["skopeo", "inspect", f"oci:{tmp_path / 'b.oci'}:{made['tag']}"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["Digest"] == made["digest"]


def test_without_mender_artifact_it_says_how_to_get_it(signed, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BundleError, match="apt install mender-artifact"):
        export_bundle(signed, "mender", tmp_path / "b.mender")
    assert os.listdir(tmp_path) == []


def test_mender_artifact_validates_what_it_packed(signed, tmp_path):
    needs("mender-artifact", "mender-artifact")
    made = export_bundle(signed, "mender", tmp_path / "b.mender")
    subprocess.run(["mender-artifact", "validate", tmp_path / "b.mender"], capture_output=True, check=True)
    said = subprocess.run(
        ["mender-artifact", "read", tmp_path / "b.mender"], capture_output=True, text=True, check=True
    ).stdout
    assert f"Name: mobilenetv3_small_050-{made['id']}" in said
    assert "Compatible devices: '[jetson-nano]'" in said
    assert write_archive(signed, tmp_path / "b.edb.tar")["sha256"] in said
    assert sorted(os.listdir(tmp_path)) == ["b.edb.tar", "b.mender", "edgedistill-bundle"]
