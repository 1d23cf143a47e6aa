#!/usr/bin/env bash
# The board's code on the Nano's Python: 3.6.15, numpy 1.19.5, ONNX Runtime 1.10.0. Makes .venv36 once.
# usage: tests/device_test.sh [BUNDLE]    with a bundle, also verifies and times that one
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV36:-.venv36}
if [ ! -e "$venv/.installed" ]; then
    python36=${PYTHON36:-$(pyenv root 2>/dev/null)/versions/3.6.15/bin/python3}
    if [ ! -x "$python36" ]; then
        echo "device_test: no Python 3.6 at '$python36'; install it with pyenv or set PYTHON36" >&2
        exit 1
    fi
    "$python36" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check pip==21.3.1
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==1.19.5 \
        onnxruntime==1.10.0 opencv-python-headless==4.5.5.64 pytest==7.0.1
    touch "$venv/.installed"
fi
python=$(cd "$venv/bin" && pwd)/python
export PYTHONDONTWRITEBYTECODE=1
PYTHONPATH=$PWD:$PWD/tests/jetson "$python" -m pytest -c tests/device_pytest.ini -q \
    --noconftest tests/jetson tests/calibration
if [ $# -gt 0 ]; then
    cd "$1"
    "$python" -m jetson verify --backend onnxruntime
    "$python" -m jetson bench --backend onnxruntime --runs 100
    rm -rf work
fi
