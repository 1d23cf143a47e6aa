import numpy as np
import pytest
import torch

from edgedistill.config.data import AugmentConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.distillation.logit_cache import LogitCache, write_cache
from edgedistill.errors import TrainingError
from edgedistill.training.batches import TrainingSet
from end_to_end import draw

KEY = {"teacher": "abc", "class list": ["a", "b"]}


@pytest.fixture
def training(tmp_path, rng):
    write_pixels(tmp_path, (draw("disc", rng) for _ in range(50)))
    view = TrainingView(16, AugmentConfig(), "area")
    return TrainingSet(PixelCache(tmp_path), np.arange(50), np.arange(50) % 2, [f"{i:064x}" for i in range(50)], view)


def teacher(images):
    pooled = images.float().mean(dim=(2, 3))
    return pooled[:, :2] / 10, pooled


def write(folder, training, net=teacher, shard_pairs=40):
    return write_cache(
        folder, training, net, 3, KEY, (2, 3), lambda done: None, with_features=True, shard_pairs=shard_pairs
    )


@pytest.mark.parametrize(
    ("shard_pairs", "shards"), [(40, [40, 40, 40, 30]), (70, [70, 70, 10]), (140, [140, 10]), (150, [150])]
)
def test_cached_outputs_are_the_teachers_for_the_very_views_of_the_batch(tmp_path, training, shard_pairs, shards):
    """The teacher sees 64 images at a time: a shard holds a batch, or two, or three."""
    write(tmp_path, training, shard_pairs=shard_pairs)
    cache = LogitCache(tmp_path, KEY)
    batch = training.batch(np.array([7, 0, 49]), np.array([2, 0, 1]))
    logits, features = teacher(batch.images)
    assert torch.allclose(cache.logits(batch), logits, atol=2e-2)
    assert torch.allclose(cache.features(batch), features, rtol=1e-3)
    every = np.concatenate([shard["features"] for shard in cache.shards()]).astype(np.float64)
    assert np.allclose(cache.mean_feature, every.mean(axis=0), rtol=1e-4)
    seeds = np.concatenate([shard["seed"] for shard in cache.shards()]).reshape(3, 50)
    assert seeds.tolist() == [[training.seed(image, view) for image in range(50)] for view in range(3)]
    assert [len(shard) for shard in cache.shards()] == shards


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_how_sure_the_teacher_is_by_the_first_view_of_every_image(tmp_path, training, temperature):
    """50 images in shards of 40 pairs: the first view ends within the second shard."""
    write(tmp_path, training)
    cache = LogitCache(tmp_path, KEY)
    logits = np.concatenate([shard["logits"] for shard in cache.shards()])[:50].astype(np.float64) / temperature
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert cache.mean_top_probability(temperature) == pytest.approx(shares.max(axis=1).mean(), rel=1e-5)


def test_an_interrupted_cache_goes_on_and_ends_with_the_same_bytes(tmp_path, training):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    names = write(tmp_path / "whole", training)
    calls = []

    def failing(images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return teacher(images)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", training, failing)
    assert not (tmp_path / "broken" / "cache.json").exists()
    seen = []
    write(tmp_path / "broken", training, lambda x: (seen.append(len(x)), teacher(x))[1])
    assert sum(seen) == 150 - 40  # the first shard was not computed again
    for name in names:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_worker_processes_write_the_same_bytes(tmp_path, training):
    (tmp_path / "threads").mkdir()
    (tmp_path / "processes").mkdir()
    names = write(tmp_path / "threads", training)
    training.workers = 2
    write(tmp_path / "processes", training)
    for name in names:
        assert (tmp_path / "processes" / name).read_bytes() == (tmp_path / "threads" / name).read_bytes()


def test_a_cache_of_another_teacher_is_refused_by_naming_what_differs(tmp_path, training):
    write(tmp_path, training)
    with pytest.raises(TrainingError, match="belong to another teacher, class list;"):
        LogitCache(tmp_path, {"teacher": "xyz", "class list": ["a", "c"]})


def test_outputs_beyond_float16_are_refused(tmp_path, training):
    with pytest.raises(TrainingError, match="not finite in float16"):
        write(tmp_path, training, lambda x: (teacher(x)[0] * 1e9, teacher(x)[1]))
