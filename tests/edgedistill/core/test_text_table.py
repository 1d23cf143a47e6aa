"""Tables and long lines in the columns of a terminal."""

import pytest

from edgedistill.core.text_table import table_lines, terminal_width, wrapped
from terminal_text import assert_fits

ROWS = [
    ("board", "state", "p50 ms", "energy", "remark"),
    ("nano-1", "done", "4.31", "", "serves 20301-ab12 now, verified as FP16"),
    ("nano-2", "failed", "", "", "no connection: ssh: connect to host nano-2 port 22: No route to host"),
]


def test_a_table_without_a_limit_has_a_line_a_row():
    assert table_lines(ROWS, right=(2,)) == [
        "board   state   p50 ms  remark",
        "nano-1  done      4.31  serves 20301-ab12 now, verified as FP16",
        "nano-2  failed          no connection: ssh: connect to host nano-2 port 22: No route to host",
    ]


def test_a_cell_is_wrapped_between_words_in_its_column():
    assert table_lines(ROWS, right=(2,), width=60)[1:4] == [
        "nano-1  done      4.31  serves 20301-ab12 now, verified as",
        "                        FP16",
        "nano-2  failed          no connection: ssh: connect to host",
    ]


def test_a_row_that_no_column_can_hold_is_a_paragraph_with_its_heads():
    assert table_lines(ROWS, right=(2,), width=32)[:3] == [
        "board nano-1: state done,",
        "  p50 ms 4.31, remark serves",
        "  20301-ab12 now, verified as",
    ]


def test_a_table_without_a_head():
    assert table_lines([("a b.png", "disc", "91.0 %")], right=(2,), head=False) == ["a b.png  disc  91.0 %"]
    assert table_lines([("a/long/path.png", "disc", "91.0 %")], right=(2,), width=20, head=False) == [
        "a/long/path.png:",
        "  disc, 91.0 %",
    ]


@pytest.mark.parametrize("width", range(16, 120, 4))
def test_no_word_is_broken_at_any_width(width):
    assert_fits("\n".join(table_lines(ROWS, (2,), width)), "\n".join(table_lines(ROWS, (2,))), width)
    text = "note     the board-side check\n  says 12 things and /a/path/that/is/longer/than/any/terminal/of/ours is one"
    assert_fits(wrapped(text, width), text, width)


def test_long_lines_go_on_two_columns_further_in():
    assert wrapped("  one two three\nfour", 10) == "  one two\n    three\nfour"
    assert wrapped("one two three", None) == "one two three"


def test_a_pipe_has_no_columns(capsys):
    assert terminal_width() is None
