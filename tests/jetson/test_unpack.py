"""`jetson unpack` against archives that GNU tar and Python's tarfile made, most of them hostile."""

import collections
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile

import pytest

from archives import (
    FILES,
    HOSTILE,
    LONG,
    by_gnu_tar,
    genuine,
    joined,
    make_root,
    make_signed,
    member,
    mutated,
    order,
    signature_of,
    tree,
)
from bundles import SOURCES
from edgedistill_device.errors import JetsonError, ManifestError, ReleaseError, SignatureError
from edgedistill_device.manifest import NAME, SIGNATURE, manifest_from_bytes
from edgedistill_device.releases import archive, unpack
from keys import new_key


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(bundle's folder, private key, another private key, public key): made once, only read."""
    folder = tmp_path_factory.mktemp("made")
    bundle, private, public = make_signed(folder)
    return bundle, private, new_key(folder, "theirs")[0], public


@pytest.fixture
def root(made, tmp_path):
    """A board's folder that trusts the key and is of the bundle's target."""
    return make_root(tmp_path, made[3])


def refused(raw, root, tmp_path, kind=JetsonError):
    """The one line that an archive is refused with; nothing of it is left anywhere."""
    before = tree(str(tmp_path))
    with pytest.raises(kind) as caught:
        unpack.unpack(io.BytesIO(raw), root)
    assert tree(str(tmp_path)) == before
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


def test_what_gnu_tar_makes_is_unpacked(made, root):
    bundle = made[0]
    raw = by_gnu_tar(bundle)
    found = unpack.unpack(io.BytesIO(raw), root)
    with open(os.path.join(bundle, NAME), "rb") as file:
        content = file.read()
    assert found == {
        "verb": "unpack",
        "id": hashlib.sha256(content).hexdigest()[:16],
        "files": len(FILES),
        "bytes": sum(map(len, FILES.values())),
    }
    folder = os.path.join(root, "incoming", found["id"])
    for name in order():
        with open(os.path.join(bundle, name), "rb") as one, open(os.path.join(folder, name), "rb") as other:
            assert one.read() == other.read()
    assert joined(genuine(bundle)) == raw  # so that each kind below differs in that one thing


def test_a_header_is_what_tarfile_makes():
    for name, size in (
        ("a", 0),
        ("golden/labels.json", 511),
        (LONG, 1 << 30),
        ("n" * 100, 2 << 30),
    ):
        assert archive.header(name, size) == member(name, size=size)[:512]
    with pytest.raises(ManifestError, match="too long a name"):
        archive.header("n" * 101, 0)
    with pytest.raises(ManifestError, match="too long a name"):
        archive.header("a/" * 128 + "b", 0)


def test_a_second_time_it_takes_the_place_of_the_first(made, root):
    raw = by_gnu_tar(made[0])
    found = unpack.unpack(io.BytesIO(raw), root)
    stray = os.path.join(root, "incoming", found["id"], "stray")
    with open(stray, "w") as file:
        file.write("left by an interrupted copy")
    assert unpack.unpack(io.BytesIO(raw), root) == found
    assert not os.path.exists(stray)


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_archive_is_refused_and_leaves_nothing(made, root, tmp_path, kind):
    refused(HOSTILE[kind](genuine(made[0])), root, tmp_path, (ManifestError, SignatureError))


def test_a_zip_is_refused(made, root, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("../evil", bytes(4096))
    assert "expected a tar that begins with manifest.json" in refused(file.getvalue(), root, tmp_path)


def signed(content, private):
    """An archive of this manifest, which a trusted key signed, and the same files."""
    parts = [
        (NAME, member(NAME, content)),
        (SIGNATURE, member(SIGNATURE, signature_of(content, private))),
    ]
    return joined(parts + [(name, member(name, FILES[name])) for name in sorted(FILES)])


def manifest_with(bundle, **changes):
    with open(os.path.join(bundle, NAME), "rb") as file:
        stored = json.loads(file.read().decode("utf-8"))
    stored.update(changes)
    return stored


def test_files_come_by_name_in_whichever_order_the_manifest_lists_them(made, root):
    files = manifest_with(made[0])["files"]
    turned = collections.OrderedDict(sorted(files.items(), reverse=True))
    content = json.dumps(manifest_with(made[0], files=turned)).encode("ascii")
    assert unpack.unpack(io.BytesIO(signed(content, made[1])), root)["files"] == len(FILES)


def test_another_key_is_refused_before_the_manifest_is_parsed(made, root, tmp_path):
    line = refused(signed(b"[" * 100000, made[2]), root, tmp_path, SignatureError)
    assert "the signature matches none of the keys trusted here" in line


@pytest.mark.parametrize("name", ["../evil", "/evil", "a//b", "a\\b", "manifest.json", "", "a\n", ".a"])
def test_a_signed_manifest_with_a_name_that_is_none_is_refused(made, root, tmp_path, name):
    entry = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    content = json.dumps(manifest_with(made[0], files={name: entry})).encode("ascii")
    assert "not a file name that a bundle may have" in refused(signed(content, made[1]), root, tmp_path)


def test_a_signed_manifest_that_breaks_the_reader_is_refused(made, root, tmp_path):
    for content in (
        b"[" * 100000,
        b'{"version": 2, "version": 2}',
        b"\xff",
        b"{}",
        b'{"version": NaN}',
    ):
        refused(signed(content, made[1]), root, tmp_path, ManifestError)


def test_a_file_that_is_also_a_folder_is_refused(made, root, tmp_path):
    entry = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    content = json.dumps(manifest_with(made[0], files={"a": entry, "a/b": entry})).encode("ascii")
    parts = [
        (NAME, member(NAME, content)),
        (SIGNATURE, member(SIGNATURE, signature_of(content, made[1]))),
    ]
    refused(joined(parts + [("", member("a")), ("", member("a/b"))]), root, tmp_path, ReleaseError)


def test_another_boards_bundle_is_refused(made, root, tmp_path):
    content = json.dumps(manifest_with(made[0], target="xavier-nx")).encode("ascii")
    assert "xavier-nx" in refused(signed(content, made[1]), root, tmp_path, ReleaseError)


def test_more_than_the_disk_has_is_refused_before_it_is_written(made, root, tmp_path):
    entry = {"sha256": "0" * 64, "bytes": 2 << 30}
    files = {"f%05d" % number: entry for number in range(10000)}  # 20 TiB
    content = json.dumps(manifest_with(made[0], files=files)).encode("ascii")
    said = refused(signed(content, made[1]), root, tmp_path, ReleaseError)
    assert "MiB of disk are free, and 2048" in said


class Endless(object):
    """A stream that begins with `raw`, never ends, and counts what is taken of it."""

    def __init__(self, raw):
        self.raw, self.taken = raw, 0

    def read(self, count):
        found = self.raw[self.taken : self.taken + count]
        self.taken += count
        return found + b"x" * (count - len(found))


def test_of_an_endless_stream_no_more_is_read_than_the_archive_has(made, root):
    raw = by_gnu_tar(made[0])
    for start, most in ((b"", 512), (raw, len(raw) + 1)):
        stream = Endless(start)
        with pytest.raises(ManifestError):
            unpack.unpack(stream, root)
        assert stream.taken <= most


def test_a_stream_that_breaks_is_one_line(root):
    class Broken(object):
        def read(self, count):
            raise OSError(5, "Input/output error")

    with pytest.raises(ManifestError, match="cannot be read: Input/output error"):
        unpack.unpack(Broken(), root)


def test_a_stream_that_trickles_is_unpacked(made, root):
    raw = by_gnu_tar(made[0])

    class Trickle(io.BytesIO):
        def read(self, count=-1):
            return io.BytesIO.read(self, min(count, 700))

    assert unpack.unpack(Trickle(raw), root)["files"] == len(FILES)


def test_a_person_who_stops_it_leaves_nothing(made, root, tmp_path):
    class Stopped(io.BytesIO):
        def read(self, count=-1):
            if self.tell() > 6000:
                raise KeyboardInterrupt
            return io.BytesIO.read(self, count)

    before = tree(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        unpack.unpack(Stopped(by_gnu_tar(made[0])), root)
    assert tree(str(tmp_path)) == before


def test_no_injury_passes_the_signature_and_the_reader(made, root, tmp_path):
    raw, rng, before = by_gnu_tar(made[0]), random.Random(7), tree(str(tmp_path))
    for _ in range(80):
        injured = mutated(raw, rng)
        if injured != raw:
            with pytest.raises(JetsonError):
                unpack.unpack(io.BytesIO(injured), root)
            assert tree(str(tmp_path)) == before


def test_no_injury_after_the_head_passes_the_reader(made, tmp_path):
    """Without the signature's check, which is slow: the reader alone, many times."""
    raw, rng = by_gnu_tar(made[0]), random.Random(11)
    source = io.BytesIO(raw)
    manifest = manifest_from_bytes(archive.head_of(archive.Source(source))[0])
    rest = raw[source.tell() :]
    archive.extract(archive.Source(io.BytesIO(rest)), manifest, str(tmp_path / "whole"))
    refusals = 0
    for number in range(2000):
        injured = mutated(rest, rng)
        if injured != rest:
            refusals += 1
            with pytest.raises(ManifestError):
                archive.extract(archive.Source(io.BytesIO(injured)), manifest, str(tmp_path / str(number)))
    assert refusals > 1500
    assert all(name == "whole" or name.isdigit() for name in os.listdir(str(tmp_path)))


def run_verb(*words, **options):
    environment = dict(os.environ, PYTHONPATH=SOURCES, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C")
    return subprocess.run(
        [sys.executable, "-m", "edgedistill_device"] + list(words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def test_the_verb_from_a_file_and_from_stdin_then_accept(made, root, tmp_path):
    raw = by_gnu_tar(made[0])
    (tmp_path / "b.edb.tar").write_bytes(raw)
    for words, stdin in (([str(tmp_path / "b.edb.tar")], b""), (["-"], raw)):
        done = run_verb("unpack", "--root", root, *words, input=stdin)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.decode("ascii").splitlines()[-1])
        assert found["verb"] == "unpack"
    done = run_verb("accept", "--root", root, found["id"])
    assert done.returncode == 0, done.stderr
    assert os.path.isfile(os.path.join(root, "releases", found["id"], "model.onnx"))


def test_the_verb_refuses_in_one_line(root, tmp_path):
    (tmp_path / "b.edb.tar").write_bytes(gzip.compress(b"x"))
    nowhere = [str(tmp_path / name) for name in ("none", "no\nsuch\x1b[2Jfile")]
    for path in [str(tmp_path / "b.edb.tar"), str(tmp_path)] + nowhere:
        done = run_verb("unpack", "--root", root, path)
        assert done.returncode == 1
        assert done.stdout == b""
        assert done.stderr.startswith(b"edgedistill_device unpack: ")
        assert done.stderr.count(b"\n") == 1
        assert b"\x1b" not in done.stderr
