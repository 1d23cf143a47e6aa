#!/usr/bin/env bash
# The board's code on four sets of packages, each in a virtual environment of its own, made once:
#   .venv36       Python 3.6.15, numpy 1.19.5, ONNX Runtime 1.10.0, OpenCV 4.5.5
#   .venv36-nano  Python 3.6.15, numpy 1.13.3, OpenCV 4.1.1: what JetPack 4 brings. ONNX Runtime does not
#                 import under this numpy: .venv36 computes for it (tests/jetson/other_python)
#   .venv310      Python 3.10, numpy 1.21.6, ONNX Runtime 1.16.3, OpenCV 4.7.0: near JetPack 6, which has Ubuntu 22.04's numpy
#                 1.21.5 and OpenCV 4.8.0, whose wheel does not import under a numpy before 1.22
#   .venv312      Python 3.12, numpy 2, OpenCV 5, ONNX Runtime: as JetPack 7
# Each tries the fakes of those releases of TensorRT that boards with its Python have; `make test` tries all.
# The files in which neither numpy nor OpenCV has a part, and the one that breaks them on purpose, run once: .venv36 has the
# oldest interpreter, `make test` a new one. Beside them .venv36 runs what ONNX Runtime computes in its own process, which
# .venv36-nano cannot; .venv310 what is tried with its TensorRT (8.6, 10.3, which no other set tries) and what reads and
# frames images: all else the sets on either side of their numpy show. Where power is cut between any two writes is the same on each
# Python, and so is what an engine file's bytes and numbers are: `make test` alone tries the first, .venv312 neither. `make test` alone
# simulates how often two benchmarks get a verdict, too.
# A Python that is not there fails in CI (EDGEDISTILL_CI), elsewhere its sets are left out.
# usage: tests/device_test.sh [BUNDLE]    with a bundle, each set also verifies, times and serves that one
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
bundle=${1:-}
# newest_of VERSION: the newest such interpreter that pyenv has, or nothing.
newest_of() {
    find "$(pyenv root 2>/dev/null || echo /nowhere)/versions" -maxdepth 3 -path "*/$1/bin/python3" 2>/dev/null | sort -V | tail -n 1 || true
}
python36=${PYTHON36:-$(newest_of '3.6.15')}
python310=${PYTHON310:-$(newest_of '3.10.*')}
python312=${PYTHON312:-$(newest_of '3.12.*')}

# sources_in FOLDER: the board's packages are found there wherever a test starts a process.
sources_in() {
    printf '%s\n' "$PWD/jetson" "$PWD/calibration" > "$(echo "$1"/lib/python3.*/site-packages)/edgedistill_device.pth"
}

# make_venv FOLDER PYTHON REQUIREMENT...
make_venv() {
    local folder=$1 python=$2
    shift 2
    if [ -e "$folder/.installed" ]; then
        sources_in "$folder"
        return 0
    fi
    if [ ! -x "$python" ]; then
        echo "device_test: no interpreter at '$python' for $folder; install Python 3.6.15, 3.10 and 3.12 with pyenv, or set PYTHON36, PYTHON310 and PYTHON312" >&2
        [ -z "${EDGEDISTILL_CI:-}" ] || exit 1
        return 1
    fi
    # Each with its own exit: bash leaves `set -e` out of what stands in an `if`.
    "$python" -m venv "$folder" || exit 1
    if "$folder/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 7))'; then
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check pip==21.3.1 || exit 1  # 3.6 brings 18
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || exit 1
    sources_in "$folder"
    touch "$folder/.installed"
}

no_arrays=(ab_bench board board_texts board_without_home build build_end clock doctor_today free_space health identity incoming layer_times manifest
    power releases root serials signature switch telemetry text trace tune unpack unsigned_files upgrade_board)
elsewhere=(ab_verdicts power_cut)
own_process=(backends bench broken_packages classify decide decode frame_parity frames gallery gallery_damage health label_sets not_finite numpy orientation preprocess values verbs verify)
for name in "${no_arrays[@]}" "${own_process[@]}" "${elsewhere[@]}"; do
    [ -e "tests/jetson/test_$name.py" ] || { echo "device_test: no tests/jetson/test_$name.py; update no_arrays and own_process" >&2; exit 1; }
done

# pytest_with FOLDER WORD...: pytest with that environment's Python.
pytest_with() {
    local releases="8.2"
    [ "$1" != "$venv310" ] || releases="8.6 10.3"
    [ "$1" != "$venv312" ] || releases="10.16 11 11.4"
    EDGEDISTILL_TENSORRT=$releases PYTHONPATH=$PWD/tests/jetson:$PWD/tests "$(cd "$1/bin" && pwd)/python" -m pytest \
        -c tests/device_pytest.ini -q --confcutdir=tests/jetson "${@:2}"
}

# The files without arrays, every second one in each: alone they would take the longest of all.
plain_files() {
    local files=() at
    for ((at = $1; at < ${#no_arrays[@]}; at += 2)); do files+=("tests/jetson/test_${no_arrays[at]}.py"); done
    pytest_with "$2" "${files[@]}"
}
even_suite() { plain_files 0 "$1"; }
odd_suite() { plain_files 1 "$1"; }

# device_suite FOLDER: the other tests with that environment's Python, and the bundle's verbs.
device_suite() {
    local python left_out=("${no_arrays[@]}" "${elsewhere[@]}" broken_packages)
    [ "$1" != "$venv312" ] || left_out+=(engine_file engine_numbers)
    left_out=("${left_out[@]/#/--ignore=tests/jetson/test_}")
    local in_process=("${own_process[@]/#/tests/jetson/test_}")
    python=$(cd "$1/bin" && pwd)/python
    "$python" -c 'import sys, numpy, cv2, onnxruntime as ort; print("Python", sys.version.split()[0],
        "numpy", numpy.__version__, "OpenCV", cv2.__version__, "ONNX Runtime", ort.__version__)'
    if [ "$1" = "$venv310" ]; then
        pytest_with "$1" tests/jetson/test_{decode,numpy,orientation,preprocess}.py tests/calibration
        pytest_with "$1" -k "8.6 or 10.3" tests/jetson/test_{build,engine_numbers,trt_runner,tune}.py
    elif [ "$1" = "$venv36" ]; then
        pytest_with "$1" "${in_process[@]/%/.py}" tests/calibration
    else
        pytest_with "$1" "${left_out[@]/%/.py}" tests/jetson tests/calibration
    fi
    if [ -n "$bundle" ]; then
        local copy
        copy=$(mktemp -d)
        cp -r "$bundle/." "$copy"
        rm -rf "$copy/work"
        (cd "$copy" && "$python" -m edgedistill_device verify --backend onnxruntime &&
            "$python" -m edgedistill_device bench --backend onnxruntime --runs 100 &&
            "$python" -m edgedistill_device classify --backend onnxruntime golden/images | tail -n 1)
        rm -rf "$copy"
    fi
}

venv36=${VENV36:-.venv36} nano=${VENV36_NANO:-.venv36-nano} venv310=${VENV310:-.venv310} venv312=${VENV312:-.venv312}
sets=()
if make_venv "$venv36" "$python36" numpy==1.19.5 onnxruntime==1.10.0 \
    opencv-python-headless==4.5.5.64 pytest==7.0.1; then
    sets+=("device_suite:$venv36" "even_suite:$venv36" "odd_suite:$venv36")
    make_venv "$nano" "$python36" numpy==1.13.3 opencv-python-headless==4.1.1.26 pytest==7.0.1
    printf '%s\n' "$PWD/tests/jetson/other_python" > "$nano/lib/python3.6/site-packages/other_python.pth"
    EDGEDISTILL_ORT_PYTHON=$(cd "$venv36/bin" && pwd)/python
    export EDGEDISTILL_ORT_PYTHON
    sets+=("device_suite:$nano")
fi
if make_venv "$venv310" "$python310" numpy==1.21.6 opencv-python-headless==4.7.0.72 onnxruntime==1.16.3 pytest==7.4.4; then
    sets+=("device_suite:$venv310")
fi
if make_venv "$venv312" "$python312" 'numpy>=2' 'opencv-python-headless>=5' onnxruntime pytest; then
    sets+=("device_suite:$venv312")
fi

# All at once: half of it waits for children.
logs=$(mktemp -d)
failed=0
for number in "${!sets[@]}"; do
    "${sets[$number]%%:*}" "${sets[$number]#*:}" > "$logs/$number" 2>&1 &
    pids[number]=$!
done
for number in "${!sets[@]}"; do
    wait "${pids[$number]}" || failed=1
    echo "-- ${sets[$number]}"
    cat "$logs/$number"
done
rm -rf "$logs"
exit "$failed"
