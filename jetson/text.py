"""JSON and messages of names that may be any bytes: a strict reader takes what is written here."""

import json


def readable(text):
    r"""Text without lone surrogates.

    Python holds a byte of a file's name that does not decode as half of a surrogate pair; without a locale
    3.6 does so with every byte that is not ASCII. What is UTF-8 after all becomes that; another byte becomes
    its escape, `\xff`.
    """
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair from elsewhere, JSON's \ud800
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def json_line(value, **words):
    """`json.dumps(value, **words)` in ASCII, every string of it `readable`."""
    return json.dumps(_readable(value), **words)


def _readable(value):
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable(item) for item in value]
    return value


def plain(text):
    """One line of ASCII: a name may hold anything, and Python 3.6 over ssh has an ASCII stderr."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in readable(text))
