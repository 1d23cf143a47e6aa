"""How an engine is run: kernel by kernel with copies, or as a CUDA graph or in mapped memory.

The engine is the same and so are its kernels: what gives other numbers than PLAIN is refused by `verify`.

cuda_graph: the kernels are queued by one call instead of one each; queueing took trtexec 62 to 100 % of the GPU's
    time for depthwise networks on a Nano. Needs libcudart by ctypes: pycuda has no graphs.
mapped_memory: the GPU reads the input and writes the output in the CPU's memory, and nothing is copied. Boards
    whose GPU shares the memory have it; it bypasses caches there and was seen to be slower, too (NVIDIA's forum,
    thread 42504), so it is used only where it was measured to be faster.

Nothing here imports numpy: the agent reads sidecars without it.
"""

from typing import NamedTuple

Execution = NamedTuple("Execution", [("cuda_graph", bool), ("mapped_memory", bool)])
PLAIN = Execution(False, False)
TUNE = ("once", "again", "build", "off")  # words of `bench --tune`; the first is the default
_WORDS = (("cuda_graph", "a CUDA graph"), ("mapped_memory", "mapped memory"))


def execution_of(record):
    """The Execution of a sidecar (see engine_file); PLAIN where none was measured."""
    stored = record["execution"]
    return PLAIN if stored is None else Execution(stored["cuda_graph"], stored["mapped_memory"])


def words_of(execution):
    """`a CUDA graph and mapped memory`; "" of PLAIN."""
    return " and ".join(word for name, word in _WORDS if getattr(execution, name))


def possible(execution, device):
    """(what of an Execution this device can do, why not the rest or "")."""
    if execution.cuda_graph and not device.has_graphs:
        rest, why = possible(execution._replace(cuda_graph=False), device)
        lacking = "%s has no CUDA graphs; without it, ctypes on libcudart has them" % (device.by,)
        return rest, "; ".join(filter(None, (lacking, why)))
    if execution.mapped_memory and not device.shares_memory():
        return execution._replace(mapped_memory=False), "this GPU has a memory of its own"
    return execution, ""
