"""`files` gives the frames of `decoded`, the pixels too but of JPEG files, from folders and shards; it holds none."""

import re
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.framing import framing_of
from edgedistill.data.pixels import FilePixels, PixelCache, open_pixels
from edgedistill.data.prepare import prepare
from edgedistill.data.table import read_table
from edgedistill.errors import DataError
from end_to_end import ROOT, edgedistill, write_images
from test_shards import shard


@pytest.fixture
def prepared(tmp_path, rng):
    """Of one set of images, some wide and some grey: (decoded folder, files folder)."""
    write_images(tmp_path / "images", per_class=20)
    wide = rng.integers(0, 255, (40, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "disc" / "wide.jpg"), wide)
    cv2.imwrite(str(tmp_path / "images" / "disc" / "grey.png"), wide[..., 0])
    folders = {}
    for store in ("decoded", "files"):
        folders[store] = tmp_path / store
        folders[store].mkdir()
        data = DataConfig(train=str(tmp_path / "images"), store=store)
        folders[f"{store} summary"] = prepare(data, 32, folders[store], lambda line: None)
    return tmp_path, folders


def opened(folder, store):
    paths = read_table(folder).paths
    return open_pixels(folder, paths, DataConfig(train="x", store=store, image_px=32), 32)


def test_both_stores_give_the_same_frames_and_table_and_pixels_but_of_jpeg_files(prepared):
    _, folders = prepared
    assert folders["decoded summary"] == folders["files summary"]
    names = {store: sorted(p.name for p in folders[store].iterdir()) for store in ("decoded", "files")}
    assert names["files"] == ["classes.txt", "images.csv"]
    assert names["decoded"] == ["classes.txt", "images.csv", "pixels.npz", "pixels.u8"]
    table = (folders["decoded"] / "images.csv").read_bytes()
    assert (folders["files"] / "images.csv").read_bytes() == table
    decoded, files = opened(folders["decoded"], "decoded"), opened(folders["files"], "files")
    assert (type(decoded), type(files)) == (PixelCache, FilePixels)
    assert len(decoded) == len(files) == 62
    paths = read_table(folders["files"]).paths
    assert sum(path.suffix == ".jpg" for path in paths) == 1
    for row in range(62):
        assert np.array_equal(decoded.frame(row), files.frame(row))
        assert np.array_equal(decoded[row], files[row]) or paths[row].suffix == ".jpg"


def test_threads_read_the_same(prepared):
    _, folders = prepared
    files, wrong = opened(folders["files"], "files"), []
    alone = [files[row] for row in range(len(files))]

    def read(start):
        for step in range(200):
            row = (start + 7 * step) % len(files)
            if not np.array_equal(alone[row], files[row]):
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_that_went_away_is_one_line(prepared):
    folder, folders = prepared
    files = opened(folders["files"], "files")
    (folder / "images" / "disc" / "000.png").unlink()
    with pytest.raises(DataError, match="000.png: was readable in stage data and is not now"):
        files[0]


def test_too_many_images_for_the_search(prepared, monkeypatch):
    folder, _ = prepared
    monkeypatch.setattr("edgedistill.data.scan.MOST_IMAGES", 61)
    (folder / "out").mkdir()
    data = {"train": str(folder / "images"), "store": "files"}
    with pytest.raises(DataError, match=re.escape("set data.near_duplicate_similarity = 0")):
        prepare(DataConfig(**data), 32, folder / "out", lambda line: None)
    prepare(DataConfig(**data, near_duplicate_similarity=0), 32, folder / "out", lambda line: None)


def test_large_jpeg_files_are_decoded_small_for_training_alone(tmp_path, rng, monkeypatch):
    """Training sees what the whole picture gives within the rounding of its DCT."""
    smooth = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.png"]
    for path, image in zip(paths, (smooth, smooth[:130, :150], smooth), strict=True):
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    framing = framing_of(DataConfig(train="x", image_px=64), 64, 96)
    asked, imdecode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda content, flag: asked.append(flag) or imdecode(content, flag))
    pixels, whole = FilePixels(paths, framing), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    as_stored = cv2.IMREAD_IGNORE_ORIENTATION  # which way up is read from EXIF by our own code
    whole |= as_stored
    for row, flag in enumerate((cv2.IMREAD_REDUCED_COLOR_4 | as_stored, whole, whole)):  # 480 / 4 >= 96 > 480 / 8
        asked.clear()
        found = pixels[row]
        assert flag in asked
        image = cv2.cvtColor(cv2.imread(str(paths[row])), cv2.COLOR_BGR2RGB)
        expected = cv2.resize(image, found.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert min(found.shape[:2]) == (120, 130, 96)[row]  # of the JPEG files nothing is resized before the crop
        assert np.abs(found.astype(int) - expected).mean() < 1.0
        asked.clear()
        assert np.array_equal(pixels.frame(row), framing.frame(image))
        assert asked == [whole]
    assert pixels.describe() != PixelCache.describe(None)


PEAK_MIB = """
import os, resource, sys
from pathlib import Path
os.cpu_count = lambda: 2  # what is decoded ahead grows with the cores
from edgedistill.data.prepare import prepare
from edgedistill.config.data import DataConfig
out = Path(sys.argv[1] + "-" + sys.argv[2])
out.mkdir()
data = DataConfig(train=sys.argv[1], store=sys.argv[2], near_duplicate_similarity=0)
prepare(data, 512, out, lambda line: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_four_times_the_images_take_no_more_memory(tmp_path, rng):
    """768 KiB an image when decoded: holding them would cost 225 MiB more."""
    peaks = {}
    for count in (100, 400):
        folder = tmp_path / str(count)
        for number in range(count):
            of_class = folder / ("a" if number % 2 else "b")
            of_class.mkdir(parents=True, exist_ok=True)
            flat = np.full((512, 512, 3), number % 200, np.uint8)
            flat[:32, :32] = 100 * (number // 200)  # no two are equal
            cv2.imwrite(str(of_class / f"{number}.jpg"), flat)
        for store in ("decoded", "files"):
            done = subprocess.run(
                [sys.executable, "-c", PEAK_MIB, folder, store], text=True, cwd=ROOT, capture_output=True, check=True
            )
            peaks[count, store] = float(done.stdout)
    for store in ("decoded", "files"):
        assert peaks[400, store] - peaks[100, store] < 12, peaks


def test_a_run_on_shards_decoded_at_each_access_has_the_bits_of_the_folder(finished_run, tmp_path):
    """Also across shards. A pool would be learnt from: tests/edgedistill/pipeline/test_training_inputs.py."""
    members = []
    for file in sorted((finished_run / "images").rglob("*.png")):
        key = f"{file.parent.name}/{file.stem}"
        members += [(f"{key}.png", file.read_bytes()), (f"{key}.cls", file.parent.name.encode())]
    shard(tmp_path / "s-0.tar", members[:80])
    shard(tmp_path / "s-1.tar", members[80:])
    (tmp_path / "r.toml").write_text((finished_run / "r.toml").read_text())
    edgedistill("bundle", "r.toml", "--set", "data.train=s-{0..1}.tar", "--set", "data.store=files", cwd=tmp_path)
    ours, known = tmp_path / "runs" / "r", finished_run / "runs" / "r"
    for name in (
        "teacher/weights.safetensors",
        "baseline/weights.safetensors",
        "distill/weights.safetensors",
        "evaluate/test_logits.npz",
        "quantize/amax.json",
        "bundle/bundle/golden/inputs.npy",
        "bundle/bundle/golden/logits.npy",
    ):
        assert (ours / name).read_bytes() == (known / name).read_bytes(), name
    images = sorted(p.name for p in (known / "bundle/bundle/golden/images").iterdir())
    for name in images:
        path = f"bundle/bundle/golden/images/{name}"
        assert (ours / path).read_bytes() == (known / path).read_bytes()
    assert not list((ours / "data").glob("pixels*"))
