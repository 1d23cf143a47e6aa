"""Folders as people have them, made small: each generator fills an empty folder."""

import csv
import io
import json
import shutil
from functools import cache

import cv2
import numpy as np

from end_to_end import draw

KINDS = ("disc", "square", "stripes")


@cache
def picture(kind, seed, ending=".png"):
    """The bytes of one image; equal arguments, equal bytes."""
    image = draw(kind, np.random.default_rng((KINDS.index(kind), seed)), side=40)
    if ending in {".gif", ".avif", ".jfif", ".mpo"}:
        from PIL import Image

        held = io.BytesIO()
        Image.fromarray(image).save(held, {".gif": "GIF", ".avif": "AVIF", ".jfif": "JPEG", ".mpo": "MPO"}[ending])
        return held.getvalue()
    return cv2.imencode(ending, image[:, :, ::-1])[1].tobytes()


def is_read(ending):
    """Whether this OpenCV decodes that kind of file: 4.9 has no .gif and no .avif."""
    return cv2.imdecode(np.frombuffer(picture("disc", 0, ending), np.uint8), cv2.IMREAD_COLOR) is not None


def put(path, kind, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(kind, seed, path.suffix.lower() if path.suffix else ".png"))


SEEDS = {"train": 0, "val": 1000, "test": 2000}


def classes_in(folder, count=6, split="train", kinds=KINDS, ending=".png", names=None):
    for kind, name in zip(kinds, names or kinds, strict=True):
        for number in range(count):
            put(folder / name / f"{split}{number:03d}{ending}", kind, SEEDS[split] + number)
    return folder


def flat_in(folder, count=6, split="train", ending=".png", name=lambda kind, number: f"{kind}{number:03d}"):
    """Images in one folder; returns (name, kind) of each."""
    rows = []
    for kind in KINDS:
        for number in range(count):
            put(folder / f"{name(kind, number)}{ending}", kind, SEEDS[split] + number)
            rows.append((name(kind, number), kind))
    return rows


def table(path, header, rows, separator=",", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])


def splits(train="train", val="val", test="test", below=""):
    def make(root):
        for split, name in (("train", train), ("val", val), ("test", test)):
            if name:
                classes_in(root / below / name, {"train": 6, "val": 3, "test": 3}[split], split)

    return make


def plain(root):
    classes_in(root, 20, ending=".JPG")


def splits_beside_others(root):
    splits()(root)
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 1 1")
    (root / "README.md").write_text("x")
    (root / "__MACOSX" / "train").mkdir(parents=True)
    (root / "__MACOSX" / "train" / "._x.png").write_bytes(b"x")
    (root / ".git").mkdir()
    flat_in(root / "extra", 1)


def classes_beside_others(root):
    classes_in(root, 20)
    for name in ("empty", "labels", "__MACOSX"):
        (root / name).mkdir()
    (root / "labels" / "disc000.txt").write_text("0")
    (root / "__MACOSX" / "._x.png").write_bytes(b"x")
    flat_in(root / "annotations", 2)
    (root / "disc" / "Thumbs.db").write_bytes(b"x")
    (root / "disc" / "._train000.png").write_bytes(b"x")


def class_then_split(root):
    for kind in KINDS:
        for split, name, count in (("train", "Train", 6), ("val", "Validation", 3), ("test", "TEST", 3)):
            for number in range(count):
                put(root / kind / name / f"{number}.png", kind, SEEDS[split] + number)


def one_level_too_high(root):
    classes_in(root / "dataset", 20)


def one_level_too_low(root):
    classes_in(root, 20)


def roboflow(root):
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = flat_in(
            root / name,
            {"train": 6}.get(split, 3),
            split,
            ".jpg",
            lambda kind, number, split=split: f"{split}{kind}{number}_jpg.rf.0123456789abcdef",
        )
        table(
            root / name / "_classes.csv",
            ["filename", *(f" {kind}" for kind in KINDS)],
            [(f"{stem}.jpg", *(f" {int(kind == other)}" for other in KINDS)) for stem, kind in rows],
        )
    (root / "README.dataset.txt").write_text("x")
    (root / "README.roboflow.txt").write_text("x")


def kaggle(root):
    rows = flat_in(root / "train_images", 20)
    table(root / "train.csv", ["id_code", "diagnosis"], [(stem, KINDS.index(kind)) for stem, kind in rows])
    flat_in(root / "test_images", 3, "test")
    table(root / "test.csv", ["id_code"], [("x",)])
    table(root / "sample_submission.csv", ["id_code", "diagnosis"], [("x", 0)])


def split_column(root):
    rows = []
    for split, name, count in (("train", "Train", 6), ("val", "VALID", 3), ("test", "test", 3)):
        flat = flat_in(root / "images", count, split, name=lambda kind, number, split=split: f"{split}{kind}{number}")
        rows += [
            (f"images/{stem}.png", f" {kind}" if number % 2 else kind, name) for number, (stem, kind) in enumerate(flat)
        ]
    table(root / "all.csv", ["image", "class", "split"], rows, ";")


def unknown_split(root):
    split_column(root)
    path = root / "all.csv"
    path.write_text(path.read_text().replace("VALID", "holdout"))


def one_hot_with_two(root):
    rows = flat_in(root, 4)
    table(
        root / "labels.csv",
        ["image", *KINDS],
        [(f"{stem}.png", *(int(kind == other) for other in KINDS)) for stem, kind in rows[:-1]]
        + [(f"{rows[-1][0]}.png", 1, 1, 0)],
    )


def tabs(root):
    rows = flat_in(root / "pics", 20)
    table(
        root / "list.tsv", ["File Name", "Category"], [(f"{stem}.png", kind) for stem, kind in rows], "\t", "utf-8-sig"
    )


def parts(root):
    """As HAM10000: folders that are no classes, and a table that names the labels."""
    rows = flat_in(root / "images_part_1", 10) + flat_in(
        root / "images_part_2", 10, "val", name=lambda kind, number: f"{kind}more{number}"
    )
    table(
        root / "metadata.csv",
        ["lesion_id", "image_id", "dx", "age"],
        [(n, stem, kind, 3) for n, (stem, kind) in enumerate(rows)],
    )


def regression(root):
    rows = flat_in(root, 4)
    table(root / "y.csv", ["filename", "target"], [(f"{stem}.png", n / 7) for n, (stem, _) in enumerate(rows)])


def encoded(encoding):
    def make(root):
        rows = flat_in(root, 4)
        table(
            root / "l.csv",
            ["filename", "label"],
            [(f"{stem}.png", f"caf\xe9 {kind}") for stem, kind in rows],
            encoding=encoding,
        )

    return make


def hugging_face(root):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    features = {"image": {"_type": "Image"}, "label": {"names": list(KINDS), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    kind_of = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for split, name, count in (
        ("train", "train-00000-of-00002", 4),
        ("train", "train-00001-of-00002", 4),
        ("val", "validation-00000-of-00001", 3),
        ("test", "test-00000-of-00001", 3),
    ):
        first = SEEDS[split] + (100 if "00001-of-00002" in name else 0)
        cells = [
            ({"bytes": picture(kind, first + number), "path": f"{number}.png" if number else None}, KINDS.index(kind))
            for kind in KINDS
            for number in range(count)
        ]
        made = pa.table(
            {
                "image": pa.array([image for image, _ in cells], kind_of),
                "label": pa.array([n for _, n in cells], pa.int64()),
            }
        )
        (root / "data").mkdir(exist_ok=True)
        parquet.write_table(made.replace_schema_metadata(metadata), root / "data" / f"{name}.parquet", row_group_size=5)
    (root / "README.md").write_text("x")


def masks_beside(root):
    classes_in(root, 6, ending=".jpg")
    for path in sorted(root.rglob("*.jpg")):
        path.with_suffix(".png").write_bytes(picture("square", 5000 + path.stat().st_size))


def masks_named(root):
    classes_in(root, 6)
    for path in sorted(root.rglob("*.png")):
        path.with_name(f"{path.stem}_mask.png").write_bytes(picture("square", 6000 + path.stat().st_size))


def masks_in_folders(root):
    for kind in KINDS:
        for number in range(4):
            put(root / kind / "images" / f"{number}.png", kind, number)
            put(root / kind / "masks" / f"{number}.png", "square", 7000 + number)


def other_endings(root):
    classes_in(root, 18)
    for number, ending in enumerate((".jfif", ".gif", ".avif", ".mpo")):
        put(root / "disc" / f"more{number}{ending}", "disc", 3000 + number)
    for number in range(3):
        (root / "disc" / f"{number}.HEIC").write_bytes(b"x")
    (root / "disc" / "linked").symlink_to(root / "square")
    (root / "all").symlink_to(root)


def dicom_class(root):
    classes_in(root, 6)
    (root / "scans").mkdir()
    (root / "scans" / "1.dcm").write_bytes(b"x")


def odd_names(root):
    names = ['say "hi"', "e\u0301te\u0301", "n02\\084"]
    classes_in(root, 20, names=names)


def class_called_train(root):
    classes_in(root, 20, names=["train", "bus", "car"])


def doubly_nested(root):
    for split, count in (("train", 6), ("test", 3)):
        classes_in(root / f"seg_{split}" / f"seg_{split}", count, split)
    flat_in(root / "seg_pred" / "seg_pred", 1)


def differing_classes(root):
    splits()(root)
    shutil.rmtree(root / "test" / "disc")


def loops(root):
    classes_in(root, 20)
    (root / "disc" / "back").symlink_to(root)


def numbered(root):
    classes_in(root, 20, names=["10", "9", "2"])


def rare(root):
    classes_in(root, 20)
    put(root / "rare" / "1.png", "disc", 9000)


def numbered_images(root):
    """A class called mask is one: its images are numbered like those of all classes, and are no masks."""
    classes_in(root, 20, names=["mask", "no_mask", "other"])


def masks_folder(root):
    classes_in(root, 20)
    for number in range(20):
        path = root / "masks" / f"train{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        mask = np.zeros((40, 40), np.uint8)
        mask[5 : 10 + number, 5:30] = 255
        path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def two_tables(root):
    """train.csv with train/, test.csv with test/, both with labels."""
    for split, count in (("train", 6), ("test", 3)):
        rows = flat_in(root / split, count, split)
        table(root / f"{split}.csv", ["id", "label"], [(f"{stem}.png", kind) for stem, kind in rows])


def one_folder_two_tables(root):
    for split, count in (("train", 6), ("val", 3)):
        rows = flat_in(root / "images", count, split, name=lambda kind, number, split=split: f"{split}{kind}{number}")
        table(root / f"{split}_labels.csv", ["filename", "label"], [(f"{stem}.png", kind) for stem, kind in rows])


def missing_file(root):
    rows = flat_in(root / "pictures", 20)
    table(root / "list.csv", ["image_name", "tags"], [*rows, ("gone", "disc")])


def anomalies(root):
    """As MVTec: nothing but good parts to train on."""
    flat_in(root / "train" / "good", 3)
    flat_in(root / "test" / "good", 2, "test")
    flat_in(root / "test" / "broken", 2, "val")
    flat_in(root / "ground_truth" / "broken", 2, "val", name=lambda kind, number: f"{kind}{number:03d}_mask")


def unknown_test(root):
    classes_in(root / "train", 6)
    flat_in(root / "test" / "unknown", 2, "test")


def without_train(root):
    classes_in(root / "val", 3, "val")
    classes_in(root / "test", 3, "test")


def without_endings(root):
    for kind in KINDS:
        put(root / kind / "1", kind, 1)


def converted_hugging_face(root):
    """As the hub's branch refs/convert/parquet: default/SPLIT/0000.parquet."""
    hugging_face(root)
    for split, start in (("train", "train-"), ("validation", "validation-"), ("test", "test-")):
        (root / "default" / split).mkdir(parents=True)
        for number, path in enumerate(sorted((root / "data").glob(f"{start}*"))):
            path.rename(root / "default" / split / f"{number:04d}.parquet")
    (root / "data").rmdir()


def no_images_at_all(root):
    table(root / "l.csv", ["image_name", "label"], [("a.png", "x"), ("b.png", "y")])


def classes_and_table(root):
    classes_in(root, 20)
    rows = [(path.relative_to(root), KINDS.index(path.parent.name)) for path in sorted(root.rglob("*.png"))]
    table(root / "list.csv", ["path", "label"], rows)


def too_high_beside_a_table(root):
    classes_in(root / "dataset", 4)
    table(root / "names.csv", ["id", "name"], enumerate(KINDS))


def one_table_of_splits(root):
    rows = []
    for split, name, count in (("train", "train", 6), ("val", "valid", 3), ("test", "test", 3)):
        flat = flat_in(root / name, count, split, name=lambda kind, number, split=split: f"{split}{kind}{number}")
        rows += [(f"{name}/{stem}.png", kind, name) for stem, kind in flat]
    table(root / "all.csv", ["path", "label", "split"], rows)


def one_class(root):
    table(root / "l.csv", ["file", "class"], [(f"{stem}.png", "part") for stem, _ in flat_in(root, 4)])
