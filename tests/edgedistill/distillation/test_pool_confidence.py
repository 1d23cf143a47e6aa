"""Which images of a pool are kept, by the teacher's mean over the views of the first seed."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.config.training import DistillConfig
from edgedistill.core.files import write_json
from edgedistill.distillation.logit_cache import LogitCache, _record, _write_shard
from edgedistill.distillation.pool_confidence import kept_positions, line_from_pool_use, pool_use
from edgedistill.errors import TrainingError

CLASSES = ["a", "b", "c"]
IMAGES, VIEWS, SEEDS, SHARD = 7, 2, 2, 5
LABELS = np.array([0, 1, -1, -1, 2, -1, -1])


@pytest.fixture
def cache(tmp_path):
    """Shards that end in the middle of a view; the views of the second seed say the opposite of the first's."""
    logits = np.random.default_rng(0).normal(0, 2, (VIEWS, IMAGES, 3))
    records = np.zeros(VIEWS * SEEDS * IMAGES, _record(3, 0))
    records["logits"] = np.concatenate([logits, -logits]).reshape(-1, 3)
    starts = range(0, len(records), SHARD)
    for number, start in enumerate(starts):
        _write_shard(tmp_path / f"shard-{number:05d}.npy", records[start : start + SHARD])
    header = {"views": VIEWS * SEEDS, "images": IMAGES, "classes": 3, "features": 0, "shard_pairs": SHARD}
    write_json(tmp_path / "cache.json", {**header, "belongs_to": {}})
    odds = np.exp(records["logits"][: VIEWS * IMAGES].astype(np.float64)).reshape(VIEWS, IMAGES, 3)
    return LogitCache(tmp_path, {}), (odds / odds.sum(axis=2, keepdims=True)).mean(axis=0)


def test_the_sure_ones_are_kept_and_all_labelled_ones(cache):
    cache, means = cache
    confidence = means[LABELS < 0].max(axis=1)
    for least in (*(confidence - 1e-3), *(confidence + 1e-3)):
        distill = DistillConfig(views=VIEWS, seeds=SEEDS, pool_min_confidence=float(least))
        taught = SimpleNamespace(labels=LABELS)
        expected = [n for n in range(IMAGES) if LABELS[n] >= 0 or means[n].max() >= least]
        use = pool_use(cache, taught, distill, CLASSES)
        assert (use.images, use.kept) == (4, sum(LABELS[n] < 0 for n in expected))
        assert use.kept_by_class == {
            name: sum(means[n].argmax() == number for n in expected if LABELS[n] < 0)
            for number, name in enumerate(CLASSES)
        }
        assert use.mean_confidence == pytest.approx(confidence.mean(), abs=1e-4)
        assert use.confidence_quantiles["0.5"] == pytest.approx(np.median(confidence), abs=1e-4)
        if use.kept:
            assert kept_positions(cache, taught, distill).tolist() == expected
            assert (
                f". {use.kept} are used for training, those of at least {least:g}. Its answers: "
                in line_from_pool_use(use, float(least))
            )
        else:
            with pytest.raises(TrainingError, match=rf"of the clearest one {confidence.max():.2f}; lower it"):
                kept_positions(cache, taught, distill)


def test_without_a_threshold_or_a_pool_nothing_is_chosen(cache):
    cache, _ = cache
    assert kept_positions(cache, SimpleNamespace(labels=LABELS), DistillConfig(views=VIEWS)) is None
    labelled = SimpleNamespace(labels=np.zeros(IMAGES, np.int64))
    assert pool_use(cache, labelled, DistillConfig(views=VIEWS), CLASSES) is None
    use = pool_use(cache, SimpleNamespace(labels=LABELS), DistillConfig(views=VIEWS), CLASSES)
    assert use.kept == 4
    assert ". 4 are used for training. Its answers: " in line_from_pool_use(use, 0.0)
