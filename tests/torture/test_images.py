"""Images that cameras, scanners and strangers leave behind: for each kind it is decided what happens."""

import csv
import io
import json
import os
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from edgedistill.data.table import read_table
from edgedistill_device.decode import decode_image, read_image
from edgedistill_device.errors import ImageError
from end_to_end import write_images
from small_recipe import small_recipe
from suite_length import rounds

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
BASE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
FRAMES = [Image.fromarray(frame) for frame in (BASE, 255 - BASE, BASE // 2)]
ROTATED = Image.Exif()
ROTATED[0x112] = 6


def made(form, mode="RGB", array=BASE, **options):
    content = io.BytesIO()
    Image.fromarray(array).convert(mode).save(content, form, **options)
    return content.getvalue()


def animated(form, **options):
    content = io.BytesIO()
    FRAMES[0].save(content, form, save_all=True, append_images=FRAMES[1:], **options)
    return content.getvalue()


def by_opencv(suffix, array):
    return cv2.imencode(suffix, array)[1].tobytes()


def bomb(height, width):
    """A PNG of some hundred bytes that claims to be that large."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


# name -> (bytes, the pixels it must give within a tolerance, or the words of the refusal)
TURNED = np.rot90(BASE, -1)
GREY = np.array(Image.fromarray(BASE).convert("L"))
IN_THREE = np.repeat(GREY[:, :, None], 3, axis=2)
KINDS = {
    "gif": (animated("GIF"), np.array(Image.open(io.BytesIO(animated("GIF"))).convert("RGB")), 0),
    "animated webp": (animated("WEBP", lossless=True), BASE, 0),
    "apng": (animated("PNG"), BASE, 0),
    "pages of tiff": (animated("TIFF"), BASE, 0),
    "one pixel": (made("PNG", array=BASE[:1, :1]), BASE[:1, :1], 0),
    "alpha": (made("PNG", "RGBA"), BASE, 0),
    "grey": (made("PNG", "L"), IN_THREE, 0),
    "grey and alpha": (made("PNG", "LA"), IN_THREE, 0),
    "bilevel": (made("PNG", "1"), np.array(Image.fromarray(BASE).convert("1").convert("RGB")), 0),
    "palette": (made("PNG", "P"), np.array(Image.fromarray(BASE).convert("P").convert("RGB")), 0),
    "16 bit": (by_opencv(".png", BASE[..., ::-1].astype(np.uint16) * 257), BASE, 0),
    "exif jpeg": (made("JPEG", exif=ROTATED, quality=100, subsampling=0), TURNED, 12),
    "exif png": (made("PNG", exif=ROTATED), TURNED, 0),
    "exif webp": (made("WEBP", exif=ROTATED, lossless=True), TURNED, 0),
    "progressive jpeg": (made("JPEG", progressive=True, quality=100, subsampling=0), BASE, 12),
    "cmyk jpeg": (made("JPEG", "CMYK"), "CMYK", None),
    "cmyk tiff": (made("TIFF", "CMYK"), BASE, 1),
    "float tiff": (by_opencv(".tiff", BASE.astype(np.float32)), "expected 8 or 16 bits", None),
    "nan tiff": (by_opencv(".tiff", np.full((9, 9, 3), np.nan, np.float32)), "expected 8 or 16 bits", None),
    "signed tiff": (by_opencv(".tiff", BASE.astype(np.int16)), "expected 8 or 16 bits", None),
    "strip": (made("PNG", array=np.zeros((1, 65, 3), np.uint8)), "is a strip", None),
    "motion photo": (made("JPEG", quality=100, subsampling=0) + b"\0\0\0\x18ftypmp42\xff\xd8\xff\xda\0\x08", BASE, 12),
    "mpo": (made("MPO", quality=100, subsampling=0) + made("JPEG"), BASE, 12),
    "png with a tail": (made("PNG") + b"\0\0\0\x18ftypmp42", BASE, 0),
    "text": (b"not an image\n", "not an image that OpenCV can decode", None),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image", None),
    "nothing": (b"", "an empty file", None),
    "truncated png": (made("PNG")[:999], "truncated PNG", None),
    "truncated jpeg": (made("JPEG")[:999], "truncated JPEG", None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_image_is_read_or_refused_as_decided(kind, tried):
    content, expected, tolerance = KINDS[kind]
    tried("images", "kinds of image", 1)
    if isinstance(expected, str):
        with pytest.raises(ImageError, match=expected) as caught:
            decode_image(content, "x")
        assert len(str(caught.value).splitlines()) == 1
        return
    found = decode_image(content, "x")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def test_cut_anywhere_an_image_is_refused_or_whole(tried):
    """No prefix of a file gives other pixels than the file: nothing is filled up with grey."""
    kinds = {
        "png": made("PNG"),
        "jpeg": made("JPEG"),
        "webp": made("WEBP", lossless=True),
        "gif": made("GIF"),
        "bmp": made("BMP"),
        "tiff": made("TIFF"),
        "jp2": made("JPEG2000"),
    }
    cuts, other = 0, []
    for kind, content in kinds.items():
        whole = decode_image(content, kind)
        for length in range(0, len(content), max(1, len(content) // rounds(40, 200, 2000))):
            cuts += 1
            try:
                found = decode_image(content[:length], kind)
            except ImageError:
                continue
            if not np.array_equal(found, whole):
                other.append((kind, length, len(content)))
    tried("images", "cut at a byte", cuts, len(other))
    assert not other, other


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path):
        with pytest.raises(ImageError, match="not a regular file"):
            read_image(path)


ODD_NAMES = (
    "日本語 עברית العربية.png",
    "new\nline.png",
    "return\r.png",
    'tab\t,quote".png',
    "\U0001f600.png",
    "esc\x1b[31m.png",
    "-rf.png",
    "100%s{}.png",
    os.fsdecode(b"bytes\xff\xfe.png"),
)


@pytest.fixture
def odd_folder(tmp_path):
    """Three classes of good images, and in `disc` files with odd names and files that are none."""
    write_images(tmp_path / "images", per_class=12)
    (tmp_path / "r.toml").write_text(small_recipe())
    disc = tmp_path / "images" / "disc"
    for number, name in enumerate(ODD_NAMES):
        os.rename(disc / f"{number:03d}.png", os.path.join(disc, name))
    bad = {
        "bomb.png": bomb(60_000, 60_000),
        "bomb of strips.png": bomb(1, 2**27),
        "cut.png": made("PNG")[:500],
        "cmyk.jpg": made("JPEG", "CMYK"),
        "nan.tiff": KINDS["nan tiff"][0],
        "text.png": b"text",
    }
    for name, content in bad.items():
        (disc / name).write_bytes(content)
    (disc / "loop.png").symlink_to("loop.png")
    (disc / "nowhere.png").symlink_to("gone.png")
    (disc / "round").symlink_to("..")  # folders: not followed
    (disc / "folder.png").mkdir()
    os.mkfifo(disc / "pipe.png")
    (disc / "wrong extension.png").write_bytes(made("JPEG"))  # read by what it is
    return tmp_path, len(bad) + 3


def test_new_and_data_meet_every_odd_file(fork_client, odd_folder, tried):
    folder, unreadable = odd_folder
    looked = fork_client.run("new", "--train", "images", "n.toml", cwd=folder)
    assert looked.code == 0, looked.err
    assert f"UNREADABLE: {unreadable} files" in looked.err + looked.out
    assert "\x1b" not in looked.err + looked.out
    refused = fork_client.run("data", "r.toml", cwd=folder)
    assert refused.code == 1
    assert len([line for line in refused.err.splitlines() if line.startswith("edgedistill data:")]) == 1
    assert f"{unreadable} images cannot be used, first: " in refused.last_line
    done = fork_client.run(
        rounds("data", "logits", "logits"), "r.toml", "--set", "data.skip_unreadable=true", cwd=folder
    )
    assert done.code == 0, done.err
    table = read_table(folder / "runs" / "r" / "data")
    assert len(table.paths) == 37
    assert {path.name for path in table.paths} >= {*ODD_NAMES, "wrong extension.png"}
    kept = json.loads((folder / "runs/r/data/data.json").read_text(encoding="utf-8"))
    assert kept["unreadable_count"] == unreadable
    tried("images", "odd files and names through new and data", 3 * (len(ODD_NAMES) + unreadable + 2))


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", os.fsdecode(b"caf\xe9"), "sep\u2028"])
def test_a_class_whose_name_is_no_line_of_text_is_refused(fork_client, tmp_path, name, tried):
    write_images(tmp_path / "images", per_class=12)
    (tmp_path / "r.toml").write_text(small_recipe())
    os.rename(tmp_path / "images" / "disc", os.path.join(tmp_path / "images", name))
    done = fork_client.run("data", "r.toml", cwd=tmp_path)
    tried("images", "class names that are no text", 1)
    assert done.code == 1
    assert "class names must be one line of text in any script" in done.last_line


def test_classes_and_folders_in_any_script(fork_client, tmp_path, tried):
    place = tmp_path / os.fsdecode(b"\xff \xd7\x90 \n")
    write_images(tmp_path / "plain" / "images", per_class=12)
    os.rename(tmp_path / "plain", place)  # OpenCV's own writer dies of such a name
    names = ("מעגל", "四角", "👨\u200d👩\u200d👧")
    for old, new in zip(("disc", "square", "stripes"), names, strict=True):
        os.rename(place / "images" / old, place / "images" / new)
    (place / "r.toml").write_text(small_recipe())
    done = fork_client.run("bundle", "r.toml", "--run-dir", "run", cwd=place)
    tried("images", "classes and folders in any script, through bundle", 1)
    assert done.code == 0, done.err
    manifest = json.loads((place / "run/bundle/bundle/manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest["classes"]) == sorted(names)
    refused = fork_client.run("new", "--train", place / "images", place / "n.toml", cwd=tmp_path)
    assert refused.code == 1
    assert "a recipe is UTF-8 and cannot name this folder" in refused.last_line


def test_a_csv_of_odd_paths(fork_client, odd_folder, tried):
    folder, _ = odd_folder
    rows = [
        (path, path.parent.name)
        for path in sorted((folder / "images").glob("*/*.png"))
        if path.is_file() and path.suffix == ".png" and not path.is_fifo()
    ]
    rows = [row for row in rows if "\udcff" not in str(row[0])]  # a CSV is UTF-8
    with open(folder / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    done = fork_client.run(
        "data", "r.toml", "--set", "data.train=list.csv", "--set", "data.skip_unreadable=true", cwd=folder
    )
    tried("images", "odd paths in a CSV", len(rows))
    assert done.code == 0, done.err
    with open(folder / "list.csv", "a", encoding="utf-8") as file:
        file.write("nul\0.png,disc\n")
    shutil.rmtree(folder / "runs")
    done = fork_client.run("data", "r.toml", "--set", "data.train=list.csv", cwd=folder)
    assert done.code == 1
    assert "is not a path" in done.last_line
