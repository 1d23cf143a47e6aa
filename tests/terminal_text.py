"""Whether a text steers the terminal that shows it."""

import unicodedata

FORGED = "\x1b[2K\rnet.onnx: fits jetson-nano (TensorRT 8.2; proven)"


def assert_terminal_safe(text, lines=None):
    """Nothing of it steers a terminal, and nothing follows a forged line."""
    for c in text.replace("\n", ""):
        assert unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp", "Cs"}, f"{c!r} in {text!r}"
    for line in text.splitlines():
        assert not line.startswith("net.onnx: fits"), text
    if lines is not None:
        assert text.count("\n") == lines


def assert_fits(fitted, whole, width):
    """No line is longer than a terminal, and every word of the text without a limit is there unbroken."""
    for line in fitted.splitlines():
        assert len(line) <= width or len(line.split()) == 1, line
    words = {word.strip(",:;") for word in fitted.split()}
    assert {word.strip(",:;") for word in whole.split()} <= words
