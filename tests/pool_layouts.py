"""Folders with images without labels beside the classes or splits; as in layouts.py."""

from layouts import classes_in, flat_in, splits


def pool_beside_classes(name):
    def make(root):
        classes_in(root / "parts", 20)
        flat_in(root / "parts" / name, 2, "test")

    return make


def pool_beside_splits(root):
    """As STL-10: train, test, and a folder of images without labels."""
    splits(val=None)(root)
    flat_in(root / "unlabeled", 2, "val")


def pool_beside_train(root):
    splits(val=None, test=None)(root)
    flat_in(root / "unlabelled", 2, "val")
