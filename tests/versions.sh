#!/usr/bin/env bash
# The quick tests on other versions, each in a virtual environment that is removed afterwards (6 GB, 2 minutes):
#   lowest      Python 3.11, and of each package that pyproject.toml names the lowest version it allows
#   3.12, 3.13  that Python, with the versions of constraints.txt; pyenv's, or else uv finds or fetches it
# usage: tests/versions.sh lowest 3.12 3.13
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE
export OMP_NUM_THREADS=1  # one for each of the two workers
uv=.venv/bin/uv
extras='.[quickstart,parquet,track,sweep,completion,compile,dev]'
failed=()
for version; do
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    export PYTHONPYCACHEPREFIX=$place/compiled  # of another Python, and gone with it
    if [ "$version" = lowest ]; then
        python=3.11 how=(--resolution lowest-direct) words=(-W default)  # an old library warns of a new one's names
    else
        python=$(find "$(pyenv root 2>/dev/null || echo /nowhere)/versions" -maxdepth 3 -path "*/$version.*/bin/python3" 2>/dev/null |
            sort -V | tail -n 1)
        python=${python:-$version} how=(--constraint constraints.txt) words=()
    fi
    echo "-- $version"
    "$uv" venv --quiet --python "$python" "$place/venv"
    "$uv" pip install --quiet --python "$place/venv/bin/python" "${how[@]}" --editable "$extras"
    "$place/venv/bin/python" -m pytest -q -n 2 --dist loadfile -m 'not (slow or gpu or device)' "${words[@]}" ||
        failed+=("$version")
    rm -rf "$place"
done
[ ${#failed[@]} = 0 ] || { echo "versions: failed on ${failed[*]}" >&2; exit 1; }
