"""pip's numpy 2 under an OpenCV that was built for numpy 1, as on JetPack 6: both real, and what doctor says of them.

The OpenCV is that of the device suites' Python 3.10; its one binary is for every Python.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy

from optional_tools import lacking

ROOT = Path(__file__).parents[2]


def test_doctor_names_numpy_2_under_an_opencv_for_numpy_1(tmp_path):
    folder = Path(os.environ.get("VENV310", ROOT / ".venv310")) / "lib" / "python3.10" / "site-packages" / "cv2"
    if not folder.is_dir():
        lacking("OpenCV 4.7 for numpy 1", "`make device-test` makes one")
    if numpy.__version__.startswith("1."):
        lacking("numpy 2", "constraints.txt has one")
    (tmp_path / "cv2").symlink_to(folder)
    path = os.pathsep.join(str(place) for place in (tmp_path, ROOT / "jetson", ROOT / "calibration"))
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill_device.doctor", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = {row["name"]: row for row in json.loads(done.stdout.splitlines()[-1])["checks"]}
    assert rows["numpy"]["found"] == f"{numpy.__version__}, {numpy.__file__}"
    assert not rows["OpenCV"]["ok"]
    assert rows["OpenCV"]["required"]
    assert f"it was built for another numpy than the {numpy.__version__} at {numpy.__file__}" in rows["OpenCV"]["found"]
    assert rows["OpenCV"]["advice"] == "python3 -m pip install --upgrade 'numpy<2'"
