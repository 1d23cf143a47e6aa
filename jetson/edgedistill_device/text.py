"""Make text printable: file names may hold any bytes, and strict readers must accept the output."""


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


def readable_values(value):
    """A JSON-able value with `readable` applied to every string."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable_values(key): readable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [readable_values(item) for item in value]
    return value


def plain(text):
    """One line of ASCII: a name may hold anything, and Python 3.6 over ssh has an ASCII stderr."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in readable(text))
