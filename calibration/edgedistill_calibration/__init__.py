"""INT8 calibration: which images, what ranges, what file. Python 3.6 and numpy."""
