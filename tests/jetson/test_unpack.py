"""`jetson unpack` against archives that GNU tar and Python's tarfile made, most of them hostile."""

import bz2
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import zipfile

import pytest

from bundles import ROOT as SOURCES
from bundles import sign
from jetson import archive, unpack
from jetson.errors import JetsonError, ManifestError, ReleaseError, SignatureError
from jetson.manifest import MAX_BYTES, NAME, SIGNATURE, manifest_from_bytes

LONG = "/".join(["golden", "x" * 90, "y" * 99])  # longer than the name field of ustar
FILES = {
    "classes.txt": b"red\ngreen\n",
    "empty": b"",
    "golden/labels.json": b"[0, 1]",
    LONG: b"far away",
    "model.onnx": bytes(bytearray(range(256))) * 4,  # a whole number of blocks
    "model_int8.onnx": b"q" * 3000,
}


def openssl(*arguments, **options):
    subprocess.check_call(("openssl",) + arguments, stderr=subprocess.DEVNULL, **options)


def signature_of(content, private):
    command = ["openssl", "dgst", "-sha256", "-sign", private]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(bundle's folder, private key, another private key, public key): made once, only read."""
    folder = tmp_path_factory.mktemp("made")
    bundle, keys = str(folder / "bundle"), []
    for name in ("ours", "theirs"):
        private = str(folder / (name + ".key"))
        openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private
        )
        keys.append(private)
    openssl("pkey", "-in", keys[0], "-pubout", "-out", str(folder / "ours.pem"))
    for name, content in FILES.items():
        os.makedirs(os.path.dirname(os.path.join(bundle, name)), exist_ok=True)
        with open(os.path.join(bundle, name), "wb") as file:
            file.write(content)
    sign(bundle)
    with open(os.path.join(bundle, NAME), "rb") as file:
        signature = signature_of(file.read(), keys[0])
    with open(os.path.join(bundle, SIGNATURE), "wb") as file:
        file.write(signature)
    return bundle, keys[0], keys[1], str(folder / "ours.pem")


@pytest.fixture
def root(made, tmp_path):
    """A board's folder that trusts the key and is of the bundle's target."""
    root = tmp_path / "board" / "root"
    (root / "trusted.d").mkdir(parents=True)
    with open(made[3], "rb") as file:
        (root / "trusted.d" / "ours.pem").write_bytes(file.read())
    board = {"version": 1, "target": "local", "backend": "onnxruntime"}
    (root / "board.json").write_text(json.dumps(board))
    return str(root)


def order():
    return [NAME, SIGNATURE] + sorted(FILES)


def by_gnu_tar(bundle):
    """The archive as the system's tar writes it."""
    return subprocess.check_output(
        ["tar", "-C", bundle, "--format=ustar", "--owner=0", "--group=0", "--numeric-owner",
         "--mode=0644", "--mtime=@0", "-b", "1", "-cf", "-"] + order()
    )  # fmt: skip


def member(name, content=b"", form=tarfile.USTAR_FORMAT, pax=None, checksum=None, **changes):
    """One member as tarfile writes it: header blocks, content, padding."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, len(content)
    info.pax_headers = pax or {}
    for key, value in changes.items():
        setattr(info, key, value)
    raw = bytearray(info.tobuf(form, "utf-8"))
    last = len(raw) - 512
    if not info.isdev():
        raw[last + 329 : last + 345] = b"0000000\0" * 2  # as Python 3.6 and GNU tar have it
    raw[last + 148 : last + 156] = b" " * 8
    total = sum(raw[last:]) if checksum is None else checksum
    raw[last + 148 : last + 156] = b"%06o\0 " % total
    return bytes(raw) + content + bytes(-len(content) % 512)


def genuine(bundle):
    """[(name, bytes of the member)], in order."""
    parts = []
    for name in order():
        with open(os.path.join(bundle, name), "rb") as file:
            parts.append((name, member(name, file.read())))
    return parts


def joined(parts, end=bytes(1024)):
    return b"".join(raw for _, raw in parts) + end


def tree(folder):
    """Everything below, with content; not the lock that any verb takes."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
            else:
                found[path] = os.path.islink(path)
    for name in ("lock", "incoming"):
        found.pop(os.path.join(folder, "board", "root", name), None)
    return found


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
        "verb": "unpack", "id": hashlib.sha256(content).hexdigest()[:16], "files": len(FILES),
        "bytes": sum(map(len, FILES.values())),
    }  # fmt: skip
    folder = os.path.join(root, "incoming", found["id"])
    for name in order():
        with open(os.path.join(bundle, name), "rb") as one, open(
            os.path.join(folder, name), "rb"
        ) as other:
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


def instead(parts, name, *raw):
    """The parts with others in place of `name`."""
    at = [n for n, _ in parts].index(name)
    return parts[:at] + [(name, one) for one in raw] + parts[at + 1 :]


def before(parts, name, *raw):
    at = [n for n, _ in parts].index(name)
    return parts[:at] + [("", one) for one in raw] + parts[at:]


CLASSES, RAW = "classes.txt", FILES["classes.txt"]
GNU, PAX = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT


def with_size_field(raw, field):
    """The header's size as other bytes, checksum mended."""
    block = bytearray(raw)
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


HOSTILE = {  # name -> parts -> bytes
    "a name that climbs": lambda p: joined(instead(p, CLASSES, member("../classes.txt", RAW))),
    "a name that climbs inside": lambda p: joined(
        instead(p, CLASSES, member("golden/../../x", RAW))
    ),
    "an absolute name": lambda p: joined(instead(p, CLASSES, member("/classes.txt", RAW))),
    "a name with a dot": lambda p: joined(instead(p, CLASSES, member("./classes.txt", RAW))),
    "a name with two slashes": lambda p: joined(
        instead(p, "golden/labels.json", member("golden//labels.json", b"[0, 1]"))
    ),
    "a name with a backslash": lambda p: joined(
        instead(p, CLASSES, member("..\\classes.txt", RAW))
    ),
    "a name in another case": lambda p: joined(instead(p, CLASSES, member("CLASSES.TXT", RAW))),
    "a name that is not ASCII": lambda p: joined(
        instead(p, CLASSES, member("cl\u00e4sses.txt", RAW))
    ),
    "a symbolic link": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, type=tarfile.SYMTYPE, linkname="/etc/passwd"))
    ),
    "a link and then the file through it": lambda p: joined(
        before(p, "golden/labels.json", member("golden", type=tarfile.SYMTYPE, linkname="../.."))
    ),
    "a hard link": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, type=tarfile.LNKTYPE, linkname="manifest.json"))
    ),
    "a character device": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, type=tarfile.CHRTYPE))
    ),
    "a block device": lambda p: joined(instead(p, CLASSES, member(CLASSES, type=tarfile.BLKTYPE))),
    "a FIFO": lambda p: joined(instead(p, CLASSES, member(CLASSES, type=tarfile.FIFOTYPE))),
    "a folder": lambda p: joined(before(p, CLASSES, member("golden", type=tarfile.DIRTYPE))),
    "a sparse file": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, GNU, type=tarfile.GNUTYPE_SPARSE))
    ),
    "a contiguous file": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, type=tarfile.CONTTYPE))
    ),
    "an old file type": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, type=tarfile.AREGTYPE))
    ),
    "GNU's magic": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, GNU))),
    "GNU's long name": lambda p: joined(instead(p, LONG, member(LONG, FILES[LONG], GNU))),
    "a pax header that renames": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"path": "../evil"}))
    ),
    "a pax header that resizes": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"size": "99999999999"}))
    ),
    "a pax header of a GNU sparse file": lambda p: joined(
        instead(p, CLASSES, member(CLASSES, RAW, PAX, pax={"GNU.sparse.realsize": "1" + "0" * 12}))
    ),
    "a global pax header": lambda p: (
        tarfile.TarInfo.create_pax_global_header({"path": "evil"}) + joined(p)
    ),
    "a member twice": lambda p: joined(before(p, CLASSES, dict(p)[CLASSES])),
    "a member twice, the second altered": lambda p: joined(
        instead(p, CLASSES, dict(p)[CLASSES], member(CLASSES, b"RED\nGREEN\n"))
    ),
    "another order": lambda p: joined(p[:2] + p[:1:-1]),
    "a member less": lambda p: joined(instead(p, CLASSES)),
    "the last member less": lambda p: joined(p[:-1]),
    "a member more": lambda p: joined(p + [("", member("evil.py", b"import os"))]),
    "a member more, first": lambda p: joined([("", member("evil.py", b"import os"))] + p),
    "a manifest more": lambda p: joined(p + p[:1]),
    "more bytes than listed": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW + b"x"))),
    "fewer bytes than listed": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW[:-1]))),
    "other bytes": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW.upper()))),
    "a size in base 256": lambda p: joined(
        instead(p, CLASSES, with_size_field(dict(p)[CLASSES], b"\x80" + bytes(10) + b"\x0a"))
    ),
    "a negative size": lambda p: joined(
        instead(p, CLASSES, with_size_field(dict(p)[CLASSES], b"\xff" * 12))
    ),
    "a manifest of negative size": lambda p: joined(
        instead(p, NAME, with_size_field(dict(p)[NAME], b"\xff" * 12))
    ),
    "a manifest size with spaces": lambda p: joined(
        instead(p, NAME, with_size_field(dict(p)[NAME], b"%11o\0" % (len(dict(p)[NAME]) - 512)))
    ),
    "a manifest that says 8 GiB": lambda p: joined(
        instead(p, NAME, with_size_field(dict(p)[NAME], b"77777777777\0"))
    ),
    "a giant manifest": lambda p: joined(instead(p, NAME, member(NAME, b" " * (MAX_BYTES + 1)))),
    "a giant signature": lambda p: joined(instead(p, SIGNATURE, member(SIGNATURE, bytes(257)))),
    "an empty signature": lambda p: joined(instead(p, SIGNATURE, member(SIGNATURE, b""))),
    "no signature": lambda p: joined(instead(p, SIGNATURE)),
    "the signature first": lambda p: joined([p[1], p[0]] + p[2:]),
    "the manifest last": lambda p: joined(p[1:] + p[:1]),
    "a manifest with a byte more": lambda p: joined(
        instead(p, NAME, member(NAME, dict(p)[NAME][512:].rstrip(b"\0") + b"\n"))
    ),
    "a set-uid file": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, mode=0o4755))),
    "an owner": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, uid=1000))),
    "an owner's name": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, uname="root"))),
    "a time": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, mtime=1))),
    "a wrong checksum": lambda p: joined(instead(p, CLASSES, member(CLASSES, RAW, checksum=1))),
    "bytes hidden in the padding": lambda p: joined(
        instead(p, CLASSES, dict(p)[CLASSES][:-4] + b"evil")
    ),
    "bytes hidden in the header": lambda p: joined(
        instead(p, CLASSES, dict(p)[CLASSES][:508] + b"evil" + dict(p)[CLASSES][512:])
    ),
    "bytes after the end": lambda p: joined(p) + b"x",
    "zeros after the end": lambda p: joined(p) + bytes(512),
    "a second archive after it": lambda p: joined(p) * 2,
    "one zero block, not two": lambda p: joined(p, bytes(512)),
    "no end": lambda p: joined(p, b""),
    "an end that is none": lambda p: joined(p, b"x" * 1024),
    "cut in a file": lambda p: joined(p)[: -1024 - 1500],
    "cut in a header": lambda p: joined(p)[:700],
    "nothing": lambda p: b"",
    "zeros": lambda p: bytes(4096),
    "text": lambda p: b"#!/bin/sh\nreboot\n" * 100,
    "gzip": lambda p: gzip.compress(joined(p)),
    "a gzip bomb": lambda p: gzip.compress(bytes(1 << 24)),
    "bzip2": lambda p: bz2.compress(joined(p)),
    "a tar in a tar": lambda p: joined([("", member("bundle.tar", joined(p)))]),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_archive_is_refused_and_leaves_nothing(made, root, tmp_path, kind):
    refused(HOSTILE[kind](genuine(made[0])), root, tmp_path, (ManifestError, SignatureError))


def test_a_zip_is_refused(made, root, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("../evil", bytes(4096))
    assert "expected a tar that begins with manifest.json" in refused(
        file.getvalue(), root, tmp_path
    )


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


def test_another_key_is_refused_before_the_manifest_is_parsed(made, root, tmp_path):
    line = refused(signed(b"[" * 100000, made[2]), root, tmp_path, SignatureError)
    assert "the signature fits none of the keys trusted here" in line


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a//b", "a\\b", "manifest.json", "", "a\n", ".a"]
)
def test_a_signed_manifest_with_a_name_that_is_none_is_refused(made, root, tmp_path, name):
    entry = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    content = json.dumps(manifest_with(made[0], files={name: entry})).encode("ascii")
    assert "no name of a file in a bundle" in refused(signed(content, made[1]), root, tmp_path)


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


def mutated(raw, rng):
    """One seeded injury: flipped, cut out, put in, swapped, cut off."""
    at, kind = rng.randrange(len(raw)), rng.randrange(6)
    if kind == 0:
        return raw[:at] + bytes(bytearray([raw[at] ^ 1 << rng.randrange(8)])) + raw[at + 1 :]
    if kind == 1:
        return raw[:at]
    if kind == 2:
        return (
            raw[:at]
            + bytes(bytearray(rng.randrange(256) for _ in range(rng.randrange(1, 600))))
            + raw[at:]
        )
    if kind == 3:
        return raw[:at] + raw[at + rng.choice((1, 2, 511, 512, 1024)) :]
    block, other = 512 * rng.randrange(len(raw) // 512), 512 * rng.randrange(len(raw) // 512)
    if kind == 4:  # a block in another's place
        return raw[:block] + raw[other : other + 512] + raw[block + 512 :]
    return raw[:block] + raw[other : other + 512] + raw[block:]  # a block twice


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
                archive.extract(
                    archive.Source(io.BytesIO(injured)), manifest, str(tmp_path / str(number))
                )
    assert refusals > 1500
    assert all(name == "whole" or name.isdigit() for name in os.listdir(str(tmp_path)))


def run_verb(*words, **options):
    environment = dict(os.environ, PYTHONPATH=SOURCES, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C")
    return subprocess.run(
        [sys.executable, "-m", "jetson"] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, **options
    )  # fmt: skip


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
    for path in (str(tmp_path / "b.edb.tar"), str(tmp_path), str(tmp_path / "none")):
        done = run_verb("unpack", "--root", root, path)
        assert done.returncode == 1
        assert done.stdout == b""
        assert done.stderr.startswith(b"jetson unpack: ")
        assert done.stderr.count(b"\n") == 1
