"""Shards are made here by tarfile and by the `tar` program; bash is the oracle for braces."""

import io
import json
import os
import subprocess
import tarfile

import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.shards import expand_braces, read_bytes, shards_of
from edgedistill.data.sources import fingerprint, list_items
from edgedistill.errors import DataError
from end_to_end import write_images


def shard(path, members, **header):
    """members: (name, content) or (TarInfo, content)."""
    with tarfile.open(path, "w", **header) as tar:
        for name, content in members:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def items(path, **more):
    return list_items(path, DataConfig(train=str(path), **more))


@pytest.mark.parametrize(
    "pattern",
    [
        "a-{0000..0012}.tar",
        "a-{8..11}.tar",
        "{b,a,}x-{3..1}.tar",
        "{09..11}{a,b}",
        "{007..08}",
        "plain",
    ],
)
def test_braces_expand_as_in_bash(pattern):
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True)
    assert list(expand_braces(pattern)) == said.stdout.splitlines()


def test_members_are_read_where_they_lie(tmp_path):
    long = "deep/" * 30 + "0003.Jpg"  # needs a header extension
    path = shard(
        tmp_path / "s.tar",
        [
            ("0001.jpg", b"one"),
            ("0001.cls", b"7\n"),
            ("0001.seg.png", b"another field"),
            ("0002.json", json.dumps({"label": "round"}).encode()),
            ("0002.png", b"two" * 999),
            (long, b"three"),
            ("deep/" * 30 + "0003.json", b'{"cls": 7}'),
            ("readme.txt", b"hello"),
        ],
    )
    found = items(path)
    assert [item.label for item in found] == ["0007", "round", "0007"]
    assert [read_bytes(item.path) for item in found] == [b"one", b"two" * 999, b"three"]
    assert [item.path.name for item in found] == ["0001.jpg", "0002.png", "0003.Jpg"]
    assert found[0].path.suffix == ".jpg"


@pytest.mark.parametrize("how", ["--format=ustar", "--format=gnu", "--format=pax"])
def test_shards_of_the_tar_program(tmp_path, how):
    write_images(tmp_path / "d", per_class=3)
    for image in (tmp_path / "d").rglob("*.png"):
        image.with_suffix(".cls").write_text(image.parent.name)
    subprocess.run(["tar", how, "--sort=name", "-cf", tmp_path / "s.tar", "-C", tmp_path / "d", "."], check=True)
    found = items(tmp_path / "s.tar", group_pattern=r"^(\d+)")
    assert len(found) == 9
    for item in found:
        assert read_bytes(item.path) == (tmp_path / "d" / item.label / item.path.name).read_bytes()
        assert item.group == item.path.stem


def test_sources_of_several_shards(tmp_path):
    for number in range(3):
        shard(
            tmp_path / f"s-{number}.tar",
            [(f"{number}.jpg", b"x"), (f"{number}.cls", b"%d" % number)],
        )
    names = [
        [item.path.name for item in items(source)]
        for source in (tmp_path, tmp_path / "s-{0..2}.tar", tmp_path / "s-{2,0}.tar")
    ]
    assert names == [["0.jpg", "1.jpg", "2.jpg"], ["0.jpg", "1.jpg", "2.jpg"], ["2.jpg", "0.jpg"]]
    with pytest.raises(DataError, match=r"there is no .*s-3\.tar"):
        items(tmp_path / "s-{0..3}.tar")
    (tmp_path / "classes.txt").write_text("zero\none\ntwo\n")
    assert [item.label for item in items(tmp_path)] == ["zero", "one", "two"]
    (tmp_path / "classes.txt").write_text("zero\none\n")
    with pytest.raises(DataError, match="2.cls: .* of the 2 that are named beside it, got 2"):
        items(tmp_path)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "dataset.json").write_text('{"classes": ["a", "b", "c"]}')
    assert [item.label for item in items(tmp_path)] == ["a", "b", "c"]


def test_a_download_beside_class_folders_is_not_a_source(tmp_path):
    write_images(tmp_path / "d", per_class=2)
    (tmp_path / "d" / "original.tar").write_bytes(b"")
    assert len(items(tmp_path / "d")) == 6


def test_a_folder_called_like_a_member_is_a_folder(tmp_path):
    folder = tmp_path / "x.tar" / "@0+3"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"a file")
    assert read_bytes(folder / "a.jpg") == b"a file"
    inner = shard(folder / "y.tar", [("a.tar/@0+9/k.jpg", b"inside"), ("a.tar/@0+9/k.cls", b"1")])
    assert read_bytes(items(inner)[0].path) == b"inside"


def test_the_fingerprint_takes_the_shard_not_its_members(tmp_path, monkeypatch):
    path = shard(tmp_path / "s.tar", [("1.jpg", b"x"), ("1.cls", b"1")])
    data = DataConfig(train=str(path))
    monkeypatch.setattr("edgedistill.data.sources.samples_of", None)  # not opened
    before = fingerprint(data)
    assert fingerprint(data) == before
    (tmp_path / "classes.txt").write_text("a\nb\n")
    named = fingerprint(data)
    os.utime(path, (5, 5))
    assert len({before, named, fingerprint(data)}) == 3


def of_type(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


GOOD = [("1.jpg", b"x" * 2000), ("1.cls", b"1")]


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ([("/etc/1.jpg", b"x"), ("/etc/1.cls", b"1")], "'/etc/1.jpg' leads out of the shard"),
        ([("a/../../1.jpg", b"x")], "leads out of the shard"),
        ([*GOOD, (of_type("2.jpg", tarfile.SYMTYPE, "/etc/passwd"), b"")], "'2.jpg' is a link"),
        ([*GOOD, (of_type("2.jpg", tarfile.LNKTYPE, "1.jpg"), b"")], "'2.jpg' is a link"),
        ([*GOOD, (of_type("2.jpg", tarfile.FIFOTYPE), b"")], "'2.jpg' is a link, a device"),
        ([("1.jpg", b"x")], "1.jpg has no label next to it; expected 1.cls, or 1.json"),
        ([("1.jpg", b"x"), ("2.jpg", b"x"), ("1.cls", b"1")], "1.jpg has no label next to it"),
        ([*GOOD, ("2.cls", b"1")], "the label of 2 has no image next to it"),
        ([*GOOD, ("1.png", b"x")], "1.jpg and 1.png are one sample"),
        ([*GOOD, ("1.jpg", b"x")], "two members are named 1.jpg"),
        ([("1.jpg", b"x"), ("1.cls", b" \n")], "1.cls: expected a class number or name, got ''"),
        ([("1.jpg", b"x"), ("1.cls", b"\xff\xfe")], "1.cls: expected a class number or name: 'utf-8'"),
        ([("1.jpg", b"x"), ("1.cls", b"1" * 2_000_000)], "expected a class number or name, got 2000000"),
        ([("1.jpg", b"x"), ("1.json", b'{"label": true}')], "got True"),
        ([("1.jpg", b"x"), ("1.json", b'{"label": -1}')], "got -1"),
        ([("1.jpg", b"x"), ("1.json", b'["label"]')], "got None"),
        ([("1.jpg", b"x"), ("1.json", b"[" * 99_999)], "expected a class number or name"),
        ([("1.txt", b"x")], "no images in it"),
        ([], "no images in it"),
    ],
)
def test_a_bad_shard_is_refused_in_one_line(tmp_path, members, line):
    path = shard(tmp_path / "s.tar", members)
    with pytest.raises(DataError) as refused:
        items(path)
    assert line in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 2048, 3072, 3500, 4096])
def test_a_truncated_shard_is_refused_wherever_it_ends(tmp_path, keep):
    path = shard(tmp_path / "s.tar", GOOD)  # headers at 0 and 2560, end mark at 3584
    assert len(items(path)) == 1
    path.write_bytes(path.read_bytes()[:keep])
    if keep == 4096:  # the end mark is there; only its padding is gone
        assert len(items(path)) == 1
        return
    with pytest.raises(DataError, match="not a whole, uncompressed tar file"):
        items(path)


def test_headers_that_name_one_another_without_an_end(tmp_path):
    """Each says that the next one has a long name: tarfile calls itself for each of them."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    block = header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(block * 2000 + bytes(1024))
    with pytest.raises(DataError, match="not a whole, uncompressed tar file"):
        items(tmp_path / "s.tar")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = shard(tmp_path / "s.tar", [*GOOD, ("2.jpg", b"y"), ("2.cls", b"2")])
    content = bytearray(path.read_bytes())
    content[3584] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a whole, uncompressed tar file"):
        items(path)


@pytest.mark.parametrize("mode", ["gz", "xz"])
def test_compressed_tars_say_what_to_do(tmp_path, mode):
    path = tmp_path / f"s.tar.{mode}"
    with tarfile.open(path, f"w:{mode}") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    for source in (path, tmp_path, tmp_path / f"{{s,t}}.tar.{mode}"):
        with pytest.raises(DataError, match="from a compressed tar; decompress it to .tar first"):
            items(source)
    path = path.rename(tmp_path / "s.tar")
    with pytest.raises(DataError, match="not a whole, uncompressed tar file"):
        items(path)


def test_a_shard_that_shrank_is_an_error(tmp_path):
    found = items(shard(tmp_path / "s.tar", GOOD))[0]
    os.truncate(tmp_path / "s.tar", 900)
    with pytest.raises(OSError, match="shorter than when it was listed"):
        read_bytes(found.path)


def test_other_sources_are_no_shards(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\n")
    assert shards_of(tmp_path) == shards_of(tmp_path / "a.csv") == shards_of(tmp_path / "no") == []
