"""Text from elsewhere can neither move the cursor, nor reorder a line, nor add one in our name."""

import numpy as np
import pytest
from PIL import Image

from edgedistill.bundles.card_parts import plain
from edgedistill.cli.main import main
from edgedistill.core.text import on_page, printable, printable_lines, printable_values
from edgedistill.core.text_table import table_lines
from edgedistill.deployment.fleet import table_from_fleet
from edgedistill.deployment.streams import clean
from edgedistill.progress.reporter import Talk
from edgedistill.records.deployment import FleetRecord
from edgedistill.reporting.fleet_page import html_from_fleet
from terminal_text import FORGED, assert_terminal_safe

HOSTILE = [
    "\x1b[2J",
    "\r",
    "\n",
    "\x9b31m",
    "\x07",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u2028",
    "\x85",
    "\ud800",
    "\0",
    "\u200b",
    "\U000e0041",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_one_function_makes_every_text_a_printable_line(part):
    text = f"a{part}b"
    for shown in (printable(text), clean(text), printable(text, most=1), printable(text, instead="?")):
        assert shown.isprintable()
        shown.encode()
    assert printable_lines(f"{text}\nc").count("\n") == 1 + (part == "\n")
    assert printable_values({text: [text, 1, None, {"x": text}]}).keys() == {printable(text)}
    (line,) = table_lines([(text, "x")])
    assert line.isprintable()


def test_what_is_fit_stays_as_it_is():
    for text in ("plain", "caf\u00e9 \u65e5\u672c\u8a9e", "", "\N{HORIZONTAL ELLIPSIS}"):
        assert printable(text) == text
    assert printable("abcdef", most=3) == "abc..."
    assert printable("a\x1bb") == "a\\x1bb"
    assert printable_values({"a": [1.5, True, None]}) == {"a": [1.5, True, None]}


def test_pages_show_no_control_character():
    assert on_page("a\x1b\nb\u202e") == "a\\x1b\nb\\u202e"
    assert on_page(3) == 3
    report = {
        "version": 1,
        "fleet": FORGED,
        "id": "0" * 16,
        "model": FORGED,
        "target": "local",
        "serial": 1,
        "until": "bench",
        "stopped": FORGED,
        "boards": [
            {
                "name": "n",
                "host": "h",
                "group": None,
                "canary": True,
                "state": "failed",
                "executed": None,
                "provenance": None,
                "p50_ms": None,
                "fps": None,
                "seconds": 1.0,
                "reason": FORGED,
            }
        ],
    }
    fleet = FleetRecord.model_validate(report)
    assert "\x1b" not in html_from_fleet(fleet)
    assert_terminal_safe(table_from_fleet(fleet), lines=1)
    assert plain("a\x1b\nb|`") == "a\\x1b b/'"


def test_what_a_run_says_is_fit_whoever_gave_the_words(capsys):
    told = []
    talk = Talk(tell=told.append)
    talk.say(f"image {FORGED}\u202e")
    talk.show(FORGED, "note")
    assert_terminal_safe(capsys.readouterr().err, lines=2)
    assert printable(told[0]["text"]) == told[0]["text"]


def test_names_of_images_and_classes_are_said_as_they_can_be(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("good", "bad\x1b[2K\rwrote r.toml\u202e"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}\x1b[1A\n.png")
    (tmp_path / "images" / "good" / "\x1b[2Kbroken\n.png").write_bytes(b"none")
    main(["new", "--train", str(tmp_path / "images"), str(tmp_path / "r.toml")])
    said = capsys.readouterr()
    assert_terminal_safe(said.out)
    assert_terminal_safe(said.err)
    (tmp_path / "s.toml").write_text('[data]\ntrain = "images"\n')
    assert main(["data", str(tmp_path / "s.toml"), "--run-dir", str(tmp_path / "r")]) == 1
    said = capsys.readouterr()
    assert_terminal_safe(said.out)
    assert_terminal_safe(said.err)


def test_a_recipe_that_is_called_like_a_line_of_ours(tmp_path, capsys):
    odd = tmp_path / "r\nedgedistill: all is well\x1b[2K.toml"
    odd.write_text('[data]\ntrain = "x"\nx = 1\n')
    assert main(["data", str(odd)]) == 1
    assert_terminal_safe(capsys.readouterr().err, lines=1)
