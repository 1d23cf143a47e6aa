"""What the teacher says of images without a label: how sure it is, which classes it names, and which images are kept.

Source: Sohn et al. 2020, arXiv:2001.07685, section 2 (a threshold on the largest probability); here on the mean
over the cached views of an image, so that it is kept or left out as a whole.
"""

from __future__ import annotations

import numpy as np

from edgedistill.config.training import DistillConfig
from edgedistill.distillation.logit_cache import LogitCache
from edgedistill.errors import TrainingError
from edgedistill.records.training import PoolUse
from edgedistill.training.batches import TrainingSet

QUANTILES = (0.1, 0.5, 0.9)  # of the confidence, that are reported
SHOWN = 12  # classes in a line


def kept_positions(cache: LogitCache, taught: TrainingSet, distill: DistillConfig) -> np.ndarray | None:
    """(M,) positions of the images that the student learns from; None where all are.

    Raises:
        TrainingError: no image without a label is left.
    """
    if not distill.pool_min_confidence:
        return None
    pool = np.flatnonzero(taught.labels < 0)
    confidence = _mean_probabilities(cache, pool, distill).max(axis=1)
    kept = pool[confidence >= distill.pool_min_confidence]
    if len(kept) == 0:
        raise TrainingError(
            f"distill.pool_min_confidence = {distill.pool_min_confidence:g}: the teacher is that sure of none of the "
            f"{len(pool)} images without a label, of the clearest one {confidence.max(initial=0):.2f}; lower it, or "
            "learn without the pool"
        )
    return np.sort(np.concatenate([np.flatnonzero(taught.labels >= 0), kept]))


def pool_use(cache: LogitCache, taught: TrainingSet, distill: DistillConfig, classes: list[str]) -> PoolUse | None:
    """What a report says of the pool; None where the student learns from none."""
    pool = np.flatnonzero(taught.labels < 0)
    if len(pool) == 0:
        return None
    probabilities = _mean_probabilities(cache, pool, distill)
    confidence, named = probabilities.max(axis=1), probabilities.argmax(axis=1)
    kept = confidence >= distill.pool_min_confidence
    counts = np.bincount(named[kept], minlength=len(classes))
    return PoolUse(
        images=len(pool),
        kept=int(kept.sum()),
        mean_confidence=float(confidence.mean()),
        confidence_quantiles={f"{q:g}": float(np.quantile(confidence, q)) for q in QUANTILES},
        kept_by_class=dict(zip(classes, map(int, counts), strict=True)),
    )


def line_from_pool_use(use: PoolUse, least: float) -> str:
    """One line for people.

    Args:
        least: confidence that an image must have.
    """
    counts = sorted(use.kept_by_class.items(), key=lambda pair: -pair[1])
    shown = counts if len(counts) <= SHOWN else [*counts[: SHOWN // 2], *counts[-(SHOWN // 2) :]]
    kept = f"{use.kept} are used for training" + (f", those of at least {least:g}" if least else "")
    return (
        f"the teacher's mean confidence on the {use.images} unlabelled images is {use.mean_confidence:.2f}; on a tenth "
        f"of them it is below {use.confidence_quantiles['0.1']:.2f}. {kept}. "
        f"Its answers: {', '.join(f'{name} {count}' for name, count in shown)}"
    )


def _mean_probabilities(cache: LogitCache, pool: np.ndarray, distill: DistillConfig) -> np.ndarray:
    """(M, C); by the views of the first seed alone, so that more seeds keep the same images."""
    return cache.mean_probabilities(distill.views)[pool]
