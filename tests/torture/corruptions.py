"""Bytes that nobody would send: corruptions of files that somebody did."""

import json

INTERESTING = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b",",
    b"[",
    b"{",
    b"}",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"9" * 5000,
    b"..",
    b"/",
    b"\\",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"%s",
    b"{}",
    b"true",
    b"null",
    b"[" * 3000,
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
]
DEEP, DEEPLY = b'"@deep"', b"[" * 3000 + b"]" * 3000
VALUES = (
    None,
    True,
    False,
    0,
    -1,
    2,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    1 << 31,
    1 << 63,
    10**400,
    -(10**4000),
    "",
    "0",
    "nan",
    "../../x",
    "/etc/passwd",
    "\0",
    "\ud800",
    "\u2028",
    "\x1b[2J\r",
    "x" * 5000,
    "fp16",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
    "@deep",
)


def mutated(draw, corpus):
    """One of the corpus with one to eight corruptions."""
    content = bytearray(draw.choice(corpus))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(content) + 1)
        deed = draw.randrange(6)
        if deed == 0 and content:
            content[at % len(content)] ^= 1 << draw.randrange(8)
        elif deed == 1:
            content[at:at] = draw.choice(INTERESTING)
        elif deed == 2:
            del content[at : at + draw.choice((1, 4, 64))]
        elif deed == 3:
            content[at:at] = content[at : at + draw.choice((4, 64, 512))]
        elif deed == 4 and draw.random() < 0.3:
            del content[at:]
        elif content:
            content[at % len(content)] = draw.randrange(256)
    return bytes(content)


def mutated_json(draw, corpus):
    """As `mutated` in one of four; else one of the corpus, JSON still, with other values in it."""
    content = draw.choice(corpus)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if value is None or draw.random() < 0.25:
        return mutated(draw, [content])
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        value = _changed(draw, value, value)
    return json.dumps(value).encode().replace(DEEP, DEEPLY)


def after_head(corruptions, bytes_in_head):
    """The same for a corpus whose entries begin with so many bytes that say what the rest is."""

    def corrupted(draw, corpus):
        content = draw.choice(corpus)
        return content[:bytes_in_head] + corruptions(draw, [content[bytes_in_head:]])

    return corrupted


def _changed(draw, value, whole):
    """The value with one change, somewhere in it; another part of the whole may take its place."""
    if value and isinstance(value, dict | list) and draw.random() < 0.85:
        return _changed_inside(draw, value, whole)
    if isinstance(value, str) and draw.random() < 0.3:
        return value + draw.choice(("\n", "\0", "x", "\u0663", "/../.."))
    if isinstance(value, int | float) and draw.random() < 0.5:
        return draw.choice((-value, value + 1, str(value), [value]))
    return draw.choice(VALUES) if draw.random() < 0.8 else _part(draw, whole)


def _changed_inside(draw, value, whole):
    changed = value.copy()
    at = draw.choice(list(changed)) if isinstance(changed, dict) else draw.randrange(len(changed))
    deed = draw.random()
    if deed < 0.75:
        changed[at] = _changed(draw, changed[at], whole)
    elif deed < 0.87:
        del changed[at]
    elif isinstance(changed, dict):
        changed[draw.choice(("", "a", "\ud800", f"{at}/", at + "x"))] = draw.choice(VALUES)
    else:
        changed.insert(at, changed[at])
    return changed


def _part(draw, value):
    while value and isinstance(value, dict | list) and draw.random() < 0.8:
        value = draw.choice(list(value.values()) if isinstance(value, dict) else value)
    return value
