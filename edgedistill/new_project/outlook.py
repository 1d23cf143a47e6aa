"""The expected gain of distillation before anything is trained, from earlier measurements."""

from __future__ import annotations

from edgedistill.config.training import DistillConfig

# A pool of fewer images than this share of the labelled ones is no pool to count on. Nothing between was measured.
POOL_THAT_PAYS = 1.0
_PAID = (
    "with 20 labels a class it gave students from scratch 1.7 to 11.8 points over their baselines on four sets, shown "
    "over three seeds on two of them (7.1 and 11.8)"
)
_DID_NOT = "with all labels, over three seeds, none was shown on four sets with students from scratch, nor a loss"
_PAGE = "docs/methods.md"


def outlook(labelled: int, pool: int, distill: DistillConfig) -> str | None:
    """One sentence for people; None where nothing like it was measured.

    Args:
        labelled: images that are trained on.
        pool: images without labels that the student learns from.
        distill: who teaches: only `kd`, and what takes its teachers, was measured.

    Source: the tables of docs/methods.md, and the commands there.
    """
    if distill.method not in {"kd", "ensemble", "progressive"}:
        return None
    if pool >= POOL_THAT_PAYS * labelled:
        return f"{pool} images without labels beside {labelled}: distillation can be expected to pay; {_PAID} ({_PAGE})"
    few = f"{pool} images without labels are few beside {labelled}" if pool else "no images without labels"
    return (
        f"{few}: a gain over the student's baseline is uncertain; {_DID_NOT} ({_PAGE}). The run trains both and the "
        "report says what the teacher gave; more images without labels (data.unlabelled, new: --unlabelled DIR) are "
        "what pays"
    )
