"""The recipe's [data] and [augment]: which images, and how they are varied."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgedistill.config.base import Fraction, Section, Seed
from edgedistill.config.task import CLASSIFICATION, Metric, TaskName
from edgedistill.config.values import ImagePx, SixteenBit, range_of
from edgedistill_device.preprocess_spec import size_of


class ValueConfig(Section):
    """A column of figures that the student learns to tell."""

    column: str
    """name of the column, and of the value"""
    unit: str = ""
    """printed behind every figure"""
    low: float | None = None
    """smallest possible value: a smaller one in the table is refused, a smaller answer becomes this"""
    high: float | None = None
    """largest possible value"""

    @model_validator(mode="after")
    def _has_a_range(self) -> ValueConfig:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"the range of {self.column!r} is empty: low = {self.low:g}, high = {self.high:g}")
        return self


class DataConfig(Section):
    """Where the images are and how they are split and framed."""

    task: TaskName = CLASSIFICATION.name
    """what a label is: one class of several, for `multilabel` any number of them, or for `regression` figures from the
    columns of a table"""
    values: tuple[ValueConfig, ...] = ()
    """regression: columns of the table, each with `column`, `unit`, `low`, `high`; the label column alone when empty"""
    value_loss: Literal["mse", "huber"] = "mse"
    """regression: squared error, or Huber's (linear beyond one standard deviation of the value), of teacher, baseline
    and student alike, against labels and against the teacher's values"""

    train: str
    """folder with one folder per class, a CSV / parquet file with a path and a label column, or
    WebDataset shards: a .tar, a folder of them, or `shards-{0000..0127}.tar`"""
    val: str | None = None
    """the same, for choosing and gating; split off `train` when absent"""
    test: str | None = None
    """the same, for the figures in the report; split off `train` when absent"""
    unlabelled: str | None = None
    """images without labels: a folder of any shape, a CSV / parquet file, or shards; copies of
    labelled images, and look-alikes of `val` and `test`, are left out"""
    train_labels: Annotated[int, Field(ge=0)] = 0
    """few labels on trial: so many training images, as many of each class, drawn by split_seed, keep their labels, the
    others are learnt from without, as `unlabelled` ones are; `val` and `test` keep theirs; 0 for all"""
    store: Literal["decoded", "files"] = "decoded"
    """keep resized pixels in the run, or (large sets) decode the files at each access"""
    path_column: str = "path"
    """CSV / parquet: column of image paths, relative to the file; where it is missing, usual names
    like `filename`, `image`, `id_code` are taken"""
    label_column: str = "label"
    """CSV / parquet: column of class names; where it is missing, usual names like `class`,
    `diagnosis`, or one column of 0 and 1 for each class (exactly one 1 in a row) are taken"""
    label_columns: tuple[str, ...] = ()
    """multilabel: columns of 0 and 1, one a label; where neither they nor a label column are named or usual, all
    columns beside path, split and group"""
    label_separator: str | None = None
    """multilabel: what stands between the labels of one cell; where absent the first of `;`, `|` and `,` that the
    column holds"""
    split_column: str | None = None
    """CSV / parquet: column of train, val and test; a column `split` is taken when absent; "" for none"""
    image_root: str | None = None
    """CSV / parquet: folder that the paths are relative to, itself relative to the table; `{table}`
    stands for the table's name. Images that are not directly there are found below it by name"""
    suffix: str = ""
    """CSV / parquet: ending of the files, where the paths are written without it, like `.png`"""
    leave_out: tuple[str, ...] = ()
    """images left out, by patterns on the path below the source or on the name, like `*_mask.png`"""
    same_names: Literal["refuse", "keep"] = "refuse"
    """what to do with a folder whose images come in pairs like a.jpg and a.png, or a.png and
    a_mask.png: the second ones may be masks; `keep` learns from both"""
    small_classes: Literal["refuse", "drop", "merge"] = "refuse"
    """what to do with classes of less than min_class_images images; `merge` makes one class `other`"""
    min_class_images: Annotated[int, Field(ge=0)] = 0
    """fewest images of a class, of all splits together; 0 means one for each split that is made"""
    group_column: str | None = None
    """CSV / parquet: images with the same value never fall into different splits"""
    group_pattern: str | None = None
    """regular expression, searched for in the path below the source; images with the same first group
    stay together"""
    group_by: Literal["folder"] | None = None
    """`folder`: images of one folder below the class folder stay together, as in CLASS/PART/image.jpg"""
    near_duplicate_similarity: Fraction = 0.9
    """correlation from which two images count as one and stay in one split; 0 turns it off, which
    more than 100,000 labelled images need"""
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `val` is absent"""
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `test` is absent"""
    split_seed: Seed = 0
    """changes which images are split off"""
    skip_unreadable: bool = False
    """leave unreadable images out (they are listed) instead of stopping"""
    image_px: ImagePx = 224
    """side of the network's square input, or its `[height, width]`, pixels"""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """of pictures of another shape: the middle, all with grey bars, or all with another aspect"""
    crop_fraction: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """fit = "crop": image_px / short side after the resize; the student model's own when absent"""
    sixteen_bit: SixteenBit = "full"
    """16-bit values that become 0 and 255: the `full` range, a number of bits (12: 0 to 4095), or
    `[low, high]`; others are clipped"""
    training_px: Annotated[int, Field(ge=32, le=4096)] | None = None
    """short side that training crops are cut from; image_px / sqrt(augment.crop_scale_min) when absent"""
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    """of the resize; `area` is the one that does not alias when shrinking"""
    balance: Literal["none", "sample", "loss"] = "none"
    """meet imbalance by drawing rare classes more often, or by weighing their loss"""
    metric: Metric = "top1_fraction"
    """what retention and gain are computed from"""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input, pixels."""
        return size_of(self.image_px)

    @property
    def has_pool(self) -> bool:
        """Whether there are images to learn from without their labels."""
        return self.unlabelled is not None or self.train_labels > 0

    @property
    def sixteen_bit_range(self) -> tuple[int, int]:
        """(low, high): the 16-bit values that become 0 and 255."""
        return range_of(self.sixteen_bit)

    @property
    def value_columns(self) -> tuple[ValueConfig, ...]:
        """Regression: the columns that are learnt."""
        return self.values or (ValueConfig(column=self.label_column),)

    @property
    def learnt_as(self) -> dict[str, str] | None:
        """What labels are to a training; None, as before it could be named, where they are classes."""
        return None if self.task == CLASSIFICATION.name else {"task": self.task, "value_loss": self.value_loss}

    @property
    def images(self) -> dict[str, Any]:
        """What the decoded and split images depend on: all but how they are used later.

        Keys that came later are left out at their default, so that older artifacts stay fresh.
        """
        newer = {
            name
            for name in (
                "unlabelled",
                "train_labels",
                "store",
                "group_by",
                "fit",
                "sixteen_bit",
                "split_column",
                "image_root",
                "suffix",
                "leave_out",
                "same_names",
                "small_classes",
                "min_class_images",
                "task",
                "values",
                "label_columns",
                "label_separator",
            )
            if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_dump(mode="json", exclude={"balance", "metric", "training_px", "value_loss", *newer})


class AugmentConfig(Section):
    """Training views, made by albumentations from a stored seed."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.5
    """smallest share of the image's area that a random crop keeps"""
    transforms: tuple[dict[str, Any], ...] = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "RandomBrightnessContrast", "p": 0.5},
    )
    """albumentations transforms after the crop, by name with their arguments"""
