"""Names that try to break a page, and stages that carry them."""

import json

HOSTILE = [
    "</script><script>alert(1)</script>", "\"quoted\" & 'single' <b>", "a" * 500,
    "\N{SNOWMAN} \u65e5\u672c \u202e\x1b", "$\\frac{1}{2}$ {{ 7 * 7 }}",
    'url(#x) id="y" #010101 <!-- -->',
]  # fmt: skip
RIGHT_TO_LEFT = "\u0634\u0642\u0648\u0642"  # cracks, in Arabic


def renamed(stages: dict, names: list[str]) -> dict:
    """The same stages with other class names."""
    for old, new in zip(stages["data"]["classes"], names, strict=True):
        stages = json.loads(json.dumps(stages).replace(json.dumps(old), json.dumps(new)))
    return stages
