"""edgedistill: from a folder of images to a distilled student that runs on a Jetson."""

__version__ = "0.1.0"
