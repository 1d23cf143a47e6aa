"""What runs on the board, from the bundle's folder: Python 3.6 and numpy, nothing installed.

python3 -m jetson VERB, see jetson/verbs; the last line on stdout is one JSON.
"""

import os

MOST_PIXELS = 1 << 27  # of one image, 400 MB decoded: a small file can claim any number of them
# Both are read when cv2 is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a bad image is told by us, in one line
