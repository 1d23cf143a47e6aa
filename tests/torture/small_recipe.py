"""The recipe of the torture tests: the pipeline in a few seconds, with a checkpoint after every step."""

from end_to_end import RECIPE

_CHANGES = {
    "epochs = 3": "epochs = 2",
    "epochs = 4": "epochs = 2",
    "calibration_images = 16": "calibration_images = 8",
    "golden_images = 6": "golden_images = 2",
    "bench_runs = 20": "bench_runs = 10",
    "threads = 1": "threads = 1\ncheckpoint_seconds = 0.001\ntensorboard = false",
}


def small_recipe():
    text = RECIPE
    for old, new in _CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    return text
