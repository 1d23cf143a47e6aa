"""Which images calibrate: class-balanced, seeded, the same on every Python."""

import hashlib


def choose(labels, count, seed):
    """Choose `count` positions, as evenly over the classes as they allow.

    Args:
        labels: sequence of class indices or names, one an image.
        count: images wanted; all of them when there are fewer.
        seed: int. The choice is a function of (labels, count, seed) alone: it ranks hashes, because
            the random module's shuffles differ between Python releases.

    Returns:
        Sorted list of positions.

    Raises:
        ValueError: count is not positive, or there are no images.
    """
    if count < 1 or not len(labels):
        raise ValueError("expected at least one image to choose from, got %d of %d" % (count, len(labels)))
    by_class = {}
    for position, label in enumerate(labels):
        by_class.setdefault(label, []).append(position)
    for positions in by_class.values():
        positions.sort(key=lambda position: _rank(seed, position))
    queues = [by_class[label] for label in sorted(by_class, key=str)]
    chosen = []
    turn = 0
    while len(chosen) < min(count, len(labels)):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
        turn += 1
    return sorted(chosen[:count])


def _rank(seed, position):
    return hashlib.sha256(("%d:%d" % (seed, position)).encode("ascii")).digest()
