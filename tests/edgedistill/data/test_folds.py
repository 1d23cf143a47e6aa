import numpy as np

from edgedistill.data.folds import folds_of


def test_groups_stay_whole_and_classes_are_spread():
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 60, 400))
    labels = np.where(rng.random(60) < 0.2, 1, 0)[groups]  # a rare class; a group has one
    folds = folds_of(labels, groups, 4)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    for of_class in (0, 1):
        counts = np.bincount(folds[labels == of_class], minlength=4)
        assert counts.max() - counts.min() <= np.bincount(groups[labels == of_class]).max()


def test_fewer_groups_than_folds():
    folds = folds_of(np.array([0, 0, 1]), np.array([7, 7, 9]), 5)
    assert folds[0] == folds[1] != folds[2]
    assert set(folds) <= set(range(5))
