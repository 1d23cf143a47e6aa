"""What a Markdown page claims that can be looked up: links, anchors, files, commands, recipe keys, make targets."""

import re
import shlex
from typing import NamedTuple

from documents import FENCE

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
ASSIGNMENT = re.compile(r"\w+=\S*$")
PROGRAMS = {("edgedistill",): "edgedistill", ("python3", "-m", "edgedistill_device"): "edgedistill_device"}


class Claims(NamedTuple):
    """Of one page.

    Attributes:
        links: targets as they are written, without http and mailto.
        anchors: of the page's own headings.
        commands: (program, its arguments) of fenced blocks, each complete.
        mentions: the same of inline code, where values may be left out.
        codes: every inline code, on one line.
    """

    links: tuple[str, ...]
    anchors: frozenset[str]
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    mentions: tuple[tuple[str, tuple[str, ...]], ...]
    codes: tuple[str, ...]


def claims_from_text(text):
    prose = FENCE.sub("", text)
    codes = tuple(" ".join(code.split()) for code in CODE.findall(prose))
    lines = [line for _, body in FENCE.findall(text) for line in body.replace("\\\n", " ").splitlines()]
    return Claims(
        links=tuple(link for link in LINK.findall(prose) if not link.startswith(("http", "mailto"))),
        anchors=frozenset(_anchors(prose)),
        commands=tuple(command for line in lines for command in _commands(line)),
        mentions=tuple(command for code in codes for command in _commands(code)),
        codes=codes,
    )


def anchor_of(heading):
    """As GitHub makes it: lower case, no punctuation, a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")


def _anchors(prose):
    seen = {}
    for heading in re.findall(r"^#+ +(.*?)\s*$", prose, re.MULTILINE):
        name = anchor_of(heading)
        seen[name] = seen.get(name, -1) + 1
        yield f"{name}-{seen[name]}" if seen[name] else name


def _commands(line):
    """Ours among those that pipes and `&&` join on one line, without redirections and comments."""
    if "edgedistill" not in line:
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quote that does not end: prose in a text block
        return
    while words:
        end = next((n for n, word in enumerate(words) if set(word) <= set("|&;")), len(words))
        command, words = words[:end], words[end + 1 :]
        redirect = next((n for n, word in enumerate(command) if set(word) <= set("<>")), len(command))
        command = command[:redirect]
        while command and ASSIGNMENT.match(command[0]):
            command = command[1:]
        for start, program in PROGRAMS.items():
            if tuple(command[: len(start)]) == start:
                yield program, tuple(command[len(start) :])
