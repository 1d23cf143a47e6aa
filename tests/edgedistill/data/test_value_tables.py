"""Tables of figures: what is read, kept and split, and each refusal in one line."""

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.config.task import CLASSIFICATION, REGRESSION, figure_rows
from edgedistill.data.prepare import prepare
from edgedistill.data.table import read_table
from edgedistill.errors import DataError

WIDTH = {"column": "width", "unit": "mm", "low": 0.0, "high": 50.0}


@pytest.fixture
def table(tmp_path):
    """36 images; write(lines) makes the table of a header and its rows."""
    rng = np.random.default_rng(0)
    for number in range(36):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 255, (24, 24, 3), np.uint8))

    def write(header, rows):
        lines = [header, *(f"{number}.png,{row}" for number, row in enumerate(rows))]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "t.csv"

    return write


def config(train, **keys):
    return DataConfig(**{"train": str(train), "task": "regression", "values": [WIDTH], "image_px": 32, **keys})


def made(train, tmp_path, **keys):
    said = []
    (tmp_path / "out").mkdir(exist_ok=True)
    summary = prepare(config(train, **keys), 24, tmp_path / "out", said.append, task=REGRESSION)
    return summary, read_table(tmp_path / "out", REGRESSION), said


def test_figures_are_kept_to_the_last_bit_and_split_over_their_ranges(table, tmp_path):
    figures = [number / 7 + 0.1 for number in range(36)]
    summary, read, said = made(table("path,width", figures), tmp_path)
    by_path = {path.name: figure for path, figure in zip(read.paths, read.figures[:, 0], strict=True)}
    assert by_path == {f"{number}.png": figure for number, figure in enumerate(figures)}
    assert read.classes == summary.classes == ["width"]
    (value,) = summary.quantities
    train = [by_path[path.name] for path, split in zip(read.paths, read.splits, strict=True) if split == "train"]
    assert (value.mean, value.std) == (pytest.approx(np.mean(train)), pytest.approx(np.std(train)))
    assert (value.unit, value.low, value.high) == ("mm", 0.0, 50.0)
    assert (value.smallest, value.largest) == (min(train), max(train))
    for split, counts in summary.counts.items():
        assert min(counts.values()) > 0, f"{split} has images of every range"
    assert any(line.strip().startswith(f"width {min(train):.4g} to") and "mm" in line for line in said)
    assert not any("imbalance" in line or "classes" in line for line in said)


def test_several_values_and_an_unlabelled_pool(table, tmp_path):
    source = table("path,width,angle", [f"{number},{-number / 2}" for number in range(36)])
    pool = tmp_path / "pool"
    pool.mkdir()
    cv2.imwrite(str(pool / "x.png"), np.random.default_rng(9).integers(0, 255, (24, 24, 3), np.uint8))
    values = [WIDTH, {"column": "angle", "unit": "deg"}]
    summary, read, _ = made(source, tmp_path, values=values, unlabelled=str(pool))
    assert [value.name for value in summary.quantities] == ["width", "angle"]
    labelled = read.labels >= 0
    np.testing.assert_array_equal(read.figures[labelled, 1], -read.figures[labelled, 0] / 2)
    assert np.isnan(read.figures[~labelled]).all()
    assert (~labelled).sum() == 1


def test_the_label_column_alone_is_learnt_where_no_values_are_named(table, tmp_path):
    summary, _, _ = made(table("path,label", range(36)), tmp_path, values=[])
    assert [value.name for value in summary.quantities] == ["label"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["1.5", "wide"], r"t\.csv, line 3: 'width' is 'wide', expected a finite figure; mend or remove the row"),
        (["1.5", ""], r"line 3: 'width' is '', expected a finite figure"),
        (["1.5", "nan"], r"line 3: 'width' is 'nan', expected a finite figure"),
        (["1.5", "51"], r"line 3: 'width' is 51, data\.values allows 0 to 50; mend the row or the range"),
        (["1.5"] * 36, r"the value 'width' is 1\.5 for each of \d+ training images; nothing can be learnt"),
    ],
)
def test_a_bad_figure_is_named_with_its_line(table, tmp_path, rows, why):
    with pytest.raises(DataError, match=why):
        made(table("path,width", [*rows, *range(len(rows), 36)]), tmp_path)


def test_a_missing_column_and_a_folder_are_refused(table, tmp_path):
    with pytest.raises(DataError, match=r"no column 'width'; it has path, size; name the columns of figures"):
        made(table("path,size", range(36)), tmp_path)
    (tmp_path / "classes" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match=r"reads the labels from columns of a table: \.csv, \.tsv or \.parquet"):
        made(tmp_path / "classes", tmp_path)


def test_one_image_with_two_figures_is_refused(table, tmp_path):
    source = table("path,width", range(36))
    (tmp_path / "7.png").write_bytes((tmp_path / "8.png").read_bytes())
    with pytest.raises(DataError, match="the same image has two labels"):
        made(source, tmp_path)


def test_a_column_of_decimal_numbers_is_no_longer_taken_for_classes(table, tmp_path):
    source = table("path,label", [number / 4 for number in range(36)])
    (tmp_path / "out").mkdir()
    data = DataConfig(train=str(source), image_px=32)
    with pytest.raises(DataError, match=r"a quantity, not classes; to learn the figures: data\.task = \"regression\""):
        prepare(data, 24, tmp_path / "out", print, task=CLASSIFICATION)


@pytest.mark.parametrize("text", ["1;2", "x", "inf"])
def test_a_damaged_label_text_is_refused(text):
    with pytest.raises(ValueError, match=r"expected 1 figures|could not convert"):
        figure_rows([text], ["width"])
