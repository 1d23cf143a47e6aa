"""What stage `decide` hands over of a student without classes: the enrolled images, and how the nearest one does."""

from __future__ import annotations

from typing import ClassVar

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record


class NearestFigures(Record):
    """The class of the nearest enrolled image, by the embeddings of one precision, on the test images."""

    images: int
    right_fraction: Fraction
    """By the class of the nearest image alone; nothing is refused."""
    right_interval: Interval
    """95 %, Wilson."""
    unknown_below: Number | None
    """Cosine with the nearest image under which the answer is `unknown`; None: nothing is refused."""
    kept: int
    """Test images that are not answered `unknown`."""
    kept_interval: Interval
    """Of that share, exact, 95 %."""
    kept_right: int
    """Of those, the ones with the right class."""


class GalleryFigures(Record):
    """Images enrolled by the float network in ONNX Runtime on this computer, asked at each precision."""

    images: int
    """Enrolled: training images."""
    left_out_images: int
    """Training images beyond `decide.enrol_per_class` and the most that are enrolled, evenly over the classes."""
    classes: int
    width: int
    """Numbers of an embedding."""
    file_bytes: int
    network: str
    """`edgedistill_device.inference.gallery.network_digest`."""
    coverage: Fraction | None
    """`decide.unknown_coverage`: share of images of known classes that is kept."""
    validation_images: int
    images_needed: int | None
    """Validation images with which something can be refused; None without a coverage."""
    by_precision: dict[str, NearestFigures]
    """`fp32`, `fp16`, `int8`."""
    executed: str
    """Precision that the target executes."""

    @property
    def sentence(self) -> str:
        """How the board does."""
        nearest = self.by_precision[self.executed]
        low, high = nearest.right_interval
        said = (
            f"{self.executed.upper()}: the nearest of {self.images} enrolled images has the right class on "
            f"{nearest.right_fraction:.1%} of {nearest.images} test images (95 % interval {low:.1%} to {high:.1%})"
        )
        if self.coverage is None:
            return said
        if nearest.unknown_below is None:
            return (
                f"{said}; nothing is refused as unknown: {self.validation_images} validation images are too few for a "
                f"coverage of {self.coverage:.4g}, {self.images_needed} are needed"
            )
        return (
            f"{said}; below a cosine of {nearest.unknown_below:.3f} the answer is unknown, which keeps {nearest.kept} "
            f"of {nearest.images} at a coverage of {self.coverage:.4g}, {nearest.kept_right} of them right"
        )


class GalleryRecord(ArtifactRecord, GalleryFigures):
    """The same, of `gallery.npz` beside it."""

    stage: ClassVar[str] = "decide"
