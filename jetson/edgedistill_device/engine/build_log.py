"""Recognise why TensorRT and its libraries give no engine: out of memory, or no kernel for a layer.

The lines and their sources: tests/jetson/samples/field/logs_oom.json and docs/build.md.
"""

import re
import threading
import time
from collections import deque

ERROR, WARNING = "tensorrt: [E] ", "tensorrt: [W] "  # prefixes of the child's log lines
_MOST_LINES = 4000
_CLOSED_S = 0.005  # between two looks at a child whose output has ended
# Spelled as the libraries do: TensorRT 8 has "insuficient".
_NO_MEMORY = re.compile(
    r"out[ _]?of[ _]?(?:\w+ )?memory|memory (?:is )?exhausted|bad_alloc|MemoryAllocation\b|_STATUS_ALLOC_FAILED"
    r"|insuf+icient (?:\w+ )?memory(?! bandwidth)|\bmemory is insuf+icient"
    r"|not (?:be )?enough (?:free |available |device |gpu |host |system )*memory"
    r"|cannot allocate memory|user allocator error allocating"
    r"|(?:could not|unable to|failed to|cannot|can't) (?:be )?(?:allocated?|reserve) (?!.*(?:file|disk|event|stream))"
    r"|could not be allocated|memory allocation (?:failed|failure|error)|allocation of \d+ bytes failed"
    r"|NvMap\w*: .*\berror 12\b|NvMapMem\w*Alloc\w*[:,]? .*\berror\b"
    r"|CUDA (?:initialization )?(?:error|failure)(?: in [\w:<>~]+)?(?: with error)?:? ?2\b(?!\.?\d)",
    re.IGNORECASE,
)
# Other lines with those words: a kernel's memory, the loader's, and advice in successful builds.
_NOT_THAT = re.compile(
    r"illegal memory access|shared memory|texture memory|workspace memory|static TLS block", re.IGNORECASE
)
_NO_KERNEL = re.compile(r"could not find any implementation for node", re.IGNORECASE)
_NO_OBJECT = "factory function returned nullptr"  # pybind11's message for a failed constructor


def lacked_memory(messages):
    """Return the first line that reports exhausted memory, or None."""
    return next((m for m in messages if _NO_MEMORY.search(m) and not _NOT_THAT.search(m)), None)


def found_no_kernel(messages):
    """Return the first line that reports a layer without a kernel, or None."""
    return next((m for m in messages if _NO_KERNEL.search(m)), None)


def memory_line(errors, warnings, died=False):
    """Return the line that shows that a failed build lacked memory, or None.

    Successful builds warn of skipped tactics, too. Warnings count if the errors name no other cause: no
    errors, no kernel for a layer, an object that was not created, or a dead process.
    """
    line = lacked_memory(errors)
    silent = died or not errors or found_no_kernel(errors) or any(_NO_OBJECT in e for e in errors)
    return lacked_memory(warnings) if line is None and silent else line


class Heard(object):
    """Show the lines of a child as they come and store them, so that they outlive it."""

    def __init__(self, stream, show):
        """`stream` gives bytes; `show` takes text, whole lines."""
        self._lines, self._stream, self._show = deque(maxlen=_MOST_LINES), stream, show
        self._thread = threading.Thread(target=self._follow, name="child's lines", daemon=True)
        self._thread.start()

    def _follow(self):
        with self._stream:
            for line in iter(self._stream.readline, b""):
                text = line.decode("utf-8", "replace").rstrip()
                self._lines.append(text)
                self._show(text + "\n")

    def wait(self, seconds):
        """Wait so long, or until the child says no more: then it ends, as a rule."""
        self._thread.join(seconds)
        if not self._thread.is_alive():
            time.sleep(_CLOSED_S)

    def end(self):
        """Wait for the last lines of a child that has ended; a grandchild may still hold the pipe open."""
        self._thread.join(5)

    def errors(self):
        """Return TensorRT's errors and the lines that libraries wrote directly."""
        return [
            line[len(ERROR) :] if line.startswith(ERROR) else line
            for line in list(self._lines)
            if not line.startswith((WARNING, "build: "))
        ]

    def warnings(self):
        return [line[len(WARNING) :] for line in list(self._lines) if line.startswith(WARNING)]
