"""Classes that lie in three groups only, one for each split: hardly a group may be placed by its own images alone."""

import itertools
from collections import Counter

import numpy as np
import pytest

from edgedistill.data.splits import _Held, _repaired, split

WANTED = {"train": 0.6, "val": 0.2, "test": 0.2}
FRACTIONS = {"val": 0.2, "test": 0.2}
CLASSES = "xyzc"


def images(groups):
    """(N,) class, (N,) group and N hashes of the images in groups that are written as words, a letter an image."""
    words = groups.split()
    labels = np.array([CLASSES.index(letter) for letter in "".join(words)])
    keys = [f"{number * 2654435761 % 2**32:08x}" for number in range(len(labels))]
    return labels, np.repeat(np.arange(len(words)), [len(word) for word in words]), keys


def letters(groups, seed):
    """r, a or e for each group: train, val or test."""
    labels, group, keys = images(groups)
    found = split(labels, group, keys, FRACTIONS, seed, list(CLASSES))
    return "".join(found[np.flatnonzero(group == number)[0]][1] for number in range(group.max() + 1))


def unevenness(counts):
    """(...,) of (..., splits, classes) images: by how much of each class the splits miss their shares, summed."""
    shares = np.array(list(WANTED.values()))[:, None]
    return np.abs(counts / counts.sum(axis=-2, keepdims=True) - shares).sum(axis=(-1, -2))


def mended(held, where, wanted):
    """Where the repair leaves the groups, by trying every step and weighing it as a whole; None where it gives up.

    Args:
        held: a Counter of classes for each group.
        where: a split for each group.
        wanted: share of each split.
    """
    totals = sum(held, Counter())

    def weight(places):
        there = {
            name: sum((own for own, at in zip(held, places, strict=True) if at == name), Counter()) for name in wanted
        }
        lacking = [(name, label) for name in sorted(wanted) for label in CLASSES if not there[name][label]]
        uneven = sum(
            (there[name][k] - wanted[name] * totals[k]) ** 2 / (wanted[name] * totals[k])
            for name in wanted
            for k in totals
        )
        return len(lacking), uneven, lacking

    def others(places):
        _, _, lacking = weight(places)
        name, label = min(lacking, key=lambda pair: sum(pair[1] in own for own in held))
        for mover in (g for g, own in enumerate(held) if label in own and places[g] != name):
            moved = [name if g == mover else at for g, at in enumerate(places)]
            yield moved
            for back in (g for g, at in enumerate(places) if at == name):
                yield [places[mover] if g == back else at for g, at in enumerate(moved)]

    steps = 0
    while weight(where)[0]:
        best = min(others(where), key=lambda places: weight(places)[:2], default=where)
        if weight(best)[0] >= weight(where)[0]:
            return None, steps
        where, steps = best, steps + 1
    return where, steps


def test_the_repair_takes_the_best_of_all_steps_one_after_another(rng):
    """Random small groups that random places leave without classes, several at a time."""
    wanted = {"val": 0.17, "test": 0.23, "train": 0.6}
    taken = Counter()
    for _ in range(60):
        groups = [Counter(rng.choice(list("xyzc"), rng.integers(1, 5), p=[0.15, 0.15, 0.2, 0.5])) for _ in range(11)]
        labels = np.array([CLASSES.index(letter) for own in groups for letter in own.elements()])
        ends = np.cumsum([own.total() for own in groups])
        held = _Held([list(range(end - own.total(), end)) for end, own in zip(ends, groups, strict=True)], labels, 4)
        where = list(rng.choice(sorted(wanted), 11, p=[0.1, 0.8, 0.1]))
        expected, steps = mended(groups, where, wanted)
        assert _repaired(where, held, np.zeros(11, bool), wanted) == (expected is not None)
        assert expected is None or where == expected
        taken[steps if expected else "given up"] += 1
    assert min(taken[1], taken[2], taken[3], taken["given up"]) > 1, taken


def test_what_no_move_of_a_group_mends_an_exchange_does(rng):
    """Held against all 3 ** 9 divisions, of which 168 give every split every class. Moves alone find none of those for
    3 of the seeds.
    """
    labels, group, keys = images("xyc xx xxc yz yyyc zz zzc cc ccc")
    held = np.array([np.bincount(labels[group == number], minlength=4) for number in range(9)])
    divisions = np.array(list(itertools.product(range(3), repeat=9)))
    counts = np.stack([(divisions == number) @ held for number in range(3)], axis=1)
    possible = unevenness(counts[(counts > 0).all(axis=(1, 2))])
    for seed in range(40):
        found = split(labels, group, keys, FRACTIONS, seed, list(CLASSES))
        assert all(len(set(found[group == number])) == 1 for number in range(9))
        own = np.array([[(labels[found == name] == number).sum() for number in range(4)] for name in WANTED])
        assert own.min() > 0
        assert unevenness(own) < np.median(possible)
        order = rng.permutation(len(labels))
        again = split(labels[order], group[order], [keys[i] for i in order], FRACTIONS, seed, list(CLASSES))
        assert np.array_equal(again, found[order])


@pytest.mark.parametrize(
    ("groups", "golden"),
    [
        (
            "xyc xx xxc yzc yyyc zzc zz cc ccc cc ccc",
            "reaaereaerr reaaerearre aerreaerrer reaaererear aerreaerear aerreaerear aerreeaerra arereaeerar "
            "raeaereearr reaaeererrr arereearrra aerreeaearr aerreearrea aerreaerear reaaerererr arereaeerar",
        ),
        (
            "xyy xx xxc yzc yyc zcc zz zz cc ccc cc ccc",
            "eararrerrrae eraarreraerr eraarerrarer eraarrrerrae raeeararerra raeeararraer earraaerrerr eararrerrrae "
            "erararaearre earraarererr eararrerrear reaaeerrarrr raeeaarrrrer areerrrarrra arereraerrea eararrrerare",
        ),
    ],
)
def test_small_groups_stay_where_they_were_in_earlier_releases(groups, golden):
    """Beside GOLDEN_SPLIT, which no repair touches: the order of equal groups, ties and repairs, over 16 seeds."""
    assert " ".join(letters(groups, seed) for seed in range(16)) == golden
