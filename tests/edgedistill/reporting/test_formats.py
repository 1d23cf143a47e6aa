"""How figures, names and changes are written."""

import pytest

from edgedistill.core.text import plural
from edgedistill.records.quantization import PrecisionStep
from edgedistill.reporting.formats import (
    begun,
    breakable,
    command,
    fps,
    kind,
    megabytes,
    millions,
    milliseconds,
    percent,
    points,
    short,
    times,
    typeset,
    with_commands,
    words,
)
from record_factories import record_with


@pytest.mark.parametrize(
    ("drop", "interval", "said"),
    [
        (-0.6, [-1.6, 0.4], "shows no loss: +0.6 points of top-1 (95 % interval -0.4 to +1.6)"),
        (0.6, [-0.4, 1.6], "shows no loss: -0.6 points of top-1 (95 % interval -1.6 to +0.4)"),
        (-0.6, [-1.1, -0.1], "shows a gain: +0.6 points of top-1 (95 % interval +0.1 to +1.1)"),
        (1.3, [0.4, 2.2], "shows a loss: -1.3 points of top-1 (95 % interval -2.2 to -0.4)"),
        (0.0, [], "changes top-1 by +0.0 points (standard error 0.3)"),
    ],
)
def test_a_negative_cost_is_a_gain_and_zero_in_the_interval_is_no_loss(drop, interval, said):
    values = {"drop_points": drop, "drop_interval_points": interval, "drop_standard_error_points": 0.3}
    assert record_with(PrecisionStep, values).change == said


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("fire1_conv+relu+relu", ["fire1_", "conv+", "relu+", "relu"]),
        ("/features/0/Conv", ["/", "features/", "0/", "Conv"]),
        ("a&b_c", ["a&amp;b_", "c"]),
        ("mobilenetv3", ["mobilenetv3"]),
        ("<b>.x", ["&lt;b&gt;.", "x"]),
    ],
)
def test_a_long_name_breaks_between_its_words_alone(name, parts):
    assert str(breakable(name)).split("<wbr>") == parts


def test_a_command_breaks_between_its_words_alone():
    said = '<code class="command"><span>run</span> <span>a&lt;b.toml</span> <span>--set</span></code>'
    assert str(command("run a<b.toml --set")) == said
    assert str(with_commands("Weak & small: `run a<b.toml --set`.")) == f"Weak &amp; small: {said}."
    assert str(with_commands("recall of a`b")) == "recall of a`b", "one backtick of a class's name"


def test_one_is_singular():
    assert (plural(1, "class", "classes"), plural(3, "class", "classes"), plural(0, "leak")) == (
        "1 class",
        "3 classes",
        "0 leaks",
    )


def test_signs_and_what_is_unknown():
    assert [points(value) for value in (-0.04, 0.0, -1.25, 2.0)] == ["+0.0", "+0.0", "\N{MINUS SIGN}1.2", "+2.0"]
    assert points(-0.004, 2) == "+0.00"
    assert typeset("-1.5 to +2, mid-0 and x86-64") == "\N{MINUS SIGN}1.5 to +2, mid-0 and x86-64"
    assert (milliseconds(None), milliseconds(3.083)) == ("unknown", "3.08 ms")


def test_a_sentence_for_terminals_is_typeset_for_the_page():
    assert typeset("fell from -0.5 to 12.5%, e-4 stays") == "fell from \N{MINUS SIGN}0.5 to 12.5 %, e-4 stays"
    assert (begun("predicted"), begun("")) == ("Predicted", "")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([percent(0.8276), percent(0.0), percent(None)], ["82.8 %", "0.0 %", "unknown"]),
        (
            [times(7.04), times(0.5), times(None)],
            ["7.0\N{MULTIPLICATION SIGN}", "0.5\N{MULTIPLICATION SIGN}", "unknown"],
        ),
        ([millions(725_600), millions(99_000_000), millions(383_900_000)], ["0.73 M", "99.00 M", "384 M"]),
        ([megabytes(13_450_000), megabytes(49_999)], ["13.4 MB", "0.0 MB"]),
        ([fps(248.4), fps(100), fps(99.94), fps(7.25)], ["248", "100", "99.9", "7.2"]),
        ([points(1.236, 2), points(-1.236, 0)], ["+1.24", "\N{MINUS SIGN}1"]),
        ([words("top1_fraction"), words("balanced_accuracy_fraction")], ["top-1 accuracy", "balanced accuracy"]),
        ([short("a" * 28), short("a" * 29)], ["a" * 28, "a" * 27 + "\N{HORIZONTAL ELLIPSIS}"]),
        ([kind("stand-in: ONNX Runtime"), kind("measured: TensorRT on nano-3")], ["stand-in", "measured"]),
    ],
)
def test_figures_are_written_in_their_unit(written, expected):
    assert written == expected
