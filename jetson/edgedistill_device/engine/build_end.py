"""How an attempt to build ended, which decides what is tried next; and the last line when nothing helped."""

import signal
from typing import NamedTuple, Optional

from edgedistill_device.board.identity import SMALLEST_WORKSPACE_MIB
from edgedistill_device.engine import build_child
from edgedistill_device.engine.build_log import found_no_kernel, memory_line
from edgedistill_device.errors import BuildError

DONE, MEMORY, NO_KERNEL, CRASH, OTHER = "done", "memory", "no kernel", "crash", "other"
# A null pointer after an allocation that nobody checked, or a page that could not be had: a smaller
# workspace cured such a one (Megvii-BaseDetection/YOLOX issue 496). They may be anything else, too.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS)
_ROOM = "stop the desktop (sudo systemctl isolate multi-user.target), close other programs"

Ending = NamedTuple("Ending", [("kind", str), ("line", Optional[str])])  # line: why there is no engine


def ending(code, result, heard):
    """What became of a child.

    Args:
        code: of subprocess, negative for a signal; 128 + signal, as shells have it, is the same.
        result: what the child wrote, or {}.
        heard: build_log.Heard.

    Returns:
        Ending. SIGKILL that is not ours is the kernel's OOM killer.

    Raises:
        BuildError: it died of a signal that no other attempt mends.
    """
    number = -code if code < 0 else code - 128
    number = number if number in [member.value for member in signal.Signals] else 0
    if code == 0:
        return Ending(DONE, None)
    if number == signal.SIGKILL:
        return Ending(MEMORY, "killed (exit code 137): the system ran out of memory")
    reasons = [result["error"]] if "error" in result else []
    if code == build_child.OUT_OF_MEMORY:
        return Ending(MEMORY, reasons[0] if reasons else "out of memory")
    errors = reasons + heard.errors()
    memory = memory_line(errors, heard.warnings(), died=number > 0)
    if memory:
        return Ending(MEMORY, "out of memory: %s" % (_short(memory),))
    if found_no_kernel(errors):
        return Ending(NO_KERNEL, _short(found_no_kernel(errors)))
    if number in _CRASHES:
        return Ending(CRASH, "died of signal %d (%s)" % (number, signal.Signals(number).name))
    if number:
        raise BuildError(
            "the build died of signal %d (%s); the last lines above say where" % (number, signal.Signals(number).name)
        )
    return Ending(OTHER, None)


def gave_up(tried):
    """The line that says why no attempt gave an engine, and what helps.

    Args:
        tried: [(Attempt, Ending)], the last one last.
    """
    kinds, last = [end.kind for _, end in tried], tried[-1]
    if CRASH in kinds and kinds[-1] == CRASH:
        return _crashed([attempt.workspace_mib for attempt, end in tried if end.kind == CRASH], last[1].line)
    if NO_KERNEL not in kinds:
        what = "out of memory" if set(kinds) == {MEMORY} else "no engine"
        return "%s in all %d attempts, the last with %d MiB of workspace: %s; %s, and build again" % (
            what,
            len(tried),
            last[0].workspace_mib,
            last[1].line,
            _ROOM,
        )
    line = next(end.line for _, end in tried if end.kind == NO_KERNEL)
    most = max(attempt.workspace_mib for attempt, end in tried if end.kind == NO_KERNEL)
    libraries = any(attempt.external_tactics for attempt, end in tried if end.kind == NO_KERNEL)
    also = "" if libraries else ", with cuBLAS and cuDNN if target.memory_mib and free memory leave them room"
    return "no kernel for a layer with %d MiB of workspace%s: %s; %s, and give it more: --workspace-mib %d%s" % (
        most,
        ", and out of memory with more" if MEMORY in kinds else "",
        line,
        _ROOM,
        2 * most,
        also,
    )


def _crashed(sizes, line):
    if len(sizes) > 1:
        return (
            "the build %s with %d MiB of workspace and again with %d, so it may not be memory; the last "
            "lines above say where" % (line, sizes[-2], sizes[-1])
        )
    return (
        "the build %s with %d MiB of workspace, and with less there was nothing to try (%d is the least); "
        "the last lines above say where" % (line, sizes[0], SMALLEST_WORKSPACE_MIB)
    )


def _short(line):
    return " ".join(line.split())[:300]
