"""How figures, names and changes are written."""

import pytest

from edgedistill.core.text import plural
from edgedistill.records.quantization import PrecisionStep
from edgedistill.reporting.formats import begun, breakable, command, milliseconds, points, typeset, with_commands
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
