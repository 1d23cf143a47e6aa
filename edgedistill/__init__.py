"""edgedistill: from a folder of images to a distilled student that runs on a Jetson."""

import jetson  # noqa: F401  it bounds what OpenCV decodes, which must be said before cv2 is loaded

__version__ = "0.1.0"
