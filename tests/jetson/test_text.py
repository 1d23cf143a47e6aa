"""Names of any bytes in JSON that a strict reader takes, with and without a locale."""

import json
import os
import re
import subprocess
import sys

import pytest

from bundles import make_bundle, pretend_verified, sign
from edgedistill_device.json_text import json_text
from edgedistill_device.text import plain, readable


def strict(line):
    """The value, by a reader that takes no half of a surrogate pair: as UTF-8, after json's decoding."""
    assert not re.search(r"\bNaN\b|\bInfinity\b", line)
    value = json.loads(line)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("mod\u00e8le \U0001f600", "mod\u00e8le \U0001f600"),
        ("mod\udcc3\udca8le", "mod\u00e8le"),  # UTF-8 that an ASCII locale did not decode
        ("\udcff.png", "\\xff.png"),
        ("mod\u00e8le\udcff", "mod\u00e8le\\xff"),
        ("\ud800 half", "\\ud800 half"),
    ],
)
def test_readable(text, expected):
    assert readable(text) == expected
    line = json_text({text: [text, (text, 1.5, None)]})
    assert strict(line) == {expected: [expected, [expected, 1.5, None]]}
    assert all(" " <= c <= "~" for c in plain(text + "\n\x1b[0m"))


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_classify_of_a_name_that_is_no_utf8(tmp_path, locale):
    bundle = make_bundle(tmp_path / "bundle")
    sign(bundle, classes=("ro\u00df", "half"))
    path = os.path.join(bundle, "manifest.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:  # as another program can write it
        file.write(text.replace('"half"', '"half \\ud83d"'))
    pretend_verified(bundle)
    with open(os.path.join(bundle, "golden", "images", "0000.png"), "rb") as file:
        content = file.read()
    folder = os.path.join(os.fsencode(bundle), b"work", b"f\xc3\xa9\xff")
    os.makedirs(folder)
    with open(os.path.join(folder, b"\xe8.png"), "wb") as file:
        file.write(content)
    environment = dict(os.environ, LC_ALL=locale, PYTHONDONTWRITEBYTECODE="1")
    stats = folder + b".json"
    process = subprocess.Popen(
        [
            sys.executable,
            b"-m",
            b"edgedistill_device",
            b"classify",
            b"--backend",
            b"onnxruntime",
            b"--stats",
            stats,
            folder,
        ],
        cwd=bundle,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = process.communicate()
    assert process.returncode == 0, error
    first, summary = [strict(line) for line in out.decode("ascii").splitlines()]
    assert first["path"] == os.path.join(bundle, "work", "f\u00e9\\xff", "\\xe8.png")
    assert {row["class"] for row in first["top"]} == {"ro\u00df", "half \\ud83d"}
    with open(stats, encoding="ascii") as file:
        assert strict(file.read())["frames"] == 1
    missing = os.path.join(folder, b"none\xff.png")
    process = subprocess.Popen(
        [sys.executable, b"-m", b"edgedistill_device", b"classify", b"--backend", b"onnxruntime", missing],
        cwd=bundle,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = process.communicate()
    assert process.returncode == 1
    assert error.decode("ascii").splitlines()[-1].endswith("no such file or folder")
    strict(out.decode("ascii").splitlines()[-1])
