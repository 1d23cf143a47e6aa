"""What runs on the board, from the bundle's folder: Python 3.6 and numpy, nothing installed.

python3 -m edgedistill_device VERB, see verbs/; the last line on stdout is one JSON.
"""

import contextlib
import importlib.machinery
import os
import struct
import sys

MOST_PIXELS = 1 << 27  # of one image, 400 MB decoded: a small file can claim any number of them
# Both are read when cv2 is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a bad image is told by us, in one line


class _Sources(object):
    """Run this package and `edgedistill_calibration` from their sources: compiled files are not signed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in ("edgedistill_device", "edgedistill_calibration"):
            return None
        folder = list(path)[0] if path else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return importlib.machinery.FileFinder(folder, (_FromSource, [".py"])).find_spec(name)


class _FromSource(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


def remove_cache_of(spec):
    """Remove the compiled copy that Python kept beside a source before it ran: one that names the
    source's time and size. Any other stays, and makes the bundle's check refuse the bundle."""
    start = 8 if sys.version_info >= (3, 7) else 4
    with contextlib.suppress(Exception):
        with open(spec.cached, "rb") as file:
            named = struct.unpack("<II", file.read(16)[start : start + 8])
        source = os.stat(spec.origin)
        if named == (int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF):
            os.remove(spec.cached)
            os.rmdir(os.path.dirname(spec.cached))


if sys.argv[:1] == ["-m"]:  # python3 -m edgedistill_device, on a board; who imports it as a library is left alone
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of children too
    sys.meta_path.insert(0, _Sources)
    remove_cache_of(__spec__)
