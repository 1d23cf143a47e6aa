"""What a build that ended early says, and what is tried next: memory, no kernel, a crash, or none of them."""

import json
import os
import signal

import pytest

import boards
import fakes
from bundles import sign
from edgedistill_device.board import identity
from edgedistill_device.board.identity import Attempt
from edgedistill_device.engine import build, build_end, build_log, engine_file, trt_api
from edgedistill_device.errors import BackendError, BuildError, DeviceMemoryError
from edgedistill_device.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]

FIELD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples", "field", "logs_oom.json")


@pytest.fixture
def use(use_in_children):
    return use_in_children


def reports():
    with open(FIELD) as file:
        return json.load(file)


@pytest.mark.parametrize("report", reports(), ids=lambda report: report["name"])
def test_reports_from_the_field(report):
    line = build_log.memory_line(report["errors"], report.get("warnings", []))
    assert (line is not None) is report["is_memory"]
    if report.get("needs_more_workspace"):
        assert build_log.found_no_kernel(report["errors"])


MEMORY = """\
  what():  std::bad_alloc
NvMapMemAllocInternalTagged: 1075072515 error 12
NvMapMemHandleAlloc: error 0
NVMAP_IOC_ALLOC failed: Cannot allocate memory
[Errno 12] Cannot allocate memory
pycuda._driver.MemoryError: cuMemAlloc failed: out of memory
cuInit failed: CUDA_ERROR_OUT_OF_MEMORY
1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)
Requested amount of GPU memory (1073741824 bytes) could not be allocated. There may not be enough free memory
OutOfMemory Error in GpuMemory: 0
Cuda failure: 2
CUDA error 2 at buffers.h:20
Cuda Error in allocate: 2 (out of memeory)
cuda error in allocate:2 (out of memeory)
CUDA initialization failure with error: 2. Please check your CUDA installation
UNSUPPORTED_STATESkipping tactic 4 due to insufficient memory on requested size of 66048 detected for tactic 0x1f.
Tactic Device request: 538MB Available: 166MB. Device memory is insufficient to use tactic.
Cudnn Error in execute: 2 (CUDNN_STATUS_ALLOC_FAILED)
CUSOLVER_STATUS_ALLOC_FAILED
cudaAllocMapped() failed to allocate memory
GPU memory allocation failed during initialization of tensor""".splitlines()
OTHERS = """\
CUDA initialization failure with error: 35. Please check your CUDA installation
CUDA initialization failure with error 222. Please check your CUDA installation
CUDA initialization failure with error 3. Please check your CUDA installation
Cuda Error in loadKernel: 209 (no kernel image is available for execution on the device)
1: [genericReformat.cuh::copyVectorizedRunKernel] Error Code 1: Cuda Runtime (an illegal memory access was encountered)
2: [builder.cpp::buildSerializedNetwork::609] Error Code 2: Internal Error (Assertion enginePtr != nullptr failed. )
2: [utils.cpp::checkMemLimit::380] Error Code 2: Internal Error (Assertion upperBound != 0 failed.
Some tactics do not have sufficient workspace memory to run. Increasing workspace size will enable more tactics
Unable to determine GPU memory usage
CUDA lazy loading is not enabled. Enabling it can significantly reduce device memory usage and speed up TensorRT
Try decreasing the workspace size with IBuilderConfig::setMaxWorkspaceSize().
ImportError: /usr/lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block
3: [builderConfig.cpp::setMemoryPoolLimit::57] Error Code 3: API Usage Error (Parameter check failed)
CUDA driver version is insufficient for CUDA runtime version
NvRmMemInit failed
CUDNN_STATUS_NOT_INITIALIZED
free(): invalid pointer
No space left on device
10: Could not find any implementation for node MaxPool_2.""".splitlines()


@pytest.mark.parametrize("line", MEMORY)
def test_lines_that_mean_memory(line):
    assert build_log.lacked_memory(["Detected invalid timing cache", line]) == line


@pytest.mark.parametrize("line", OTHERS)
def test_lines_that_do_not(line):
    assert build_log.lacked_memory([line]) is None


def test_warnings_count_only_where_no_error_names_another_cause():
    skipped = ["Skipping tactic 8 due to insuficient memory on requested size of 4364 detected for tactic 60."]
    none, died = "10: Could not find any implementation for node MaxPool_2.", "Network must have at least one output"
    assert build_log.memory_line([none], skipped) == skipped[0]
    assert build_log.memory_line([], skipped) == skipped[0]
    assert build_log.memory_line([died], skipped) is None
    assert build_log.memory_line([died], skipped, died=True) == skipped[0]


def built(bundle, **options):
    return build.build(bundle, read_manifest(bundle), **options)


INSUFFICIENT = ["WARNING", "Skipping tactic 8 due to insuficient memory on requested size of 4364 detected"]
NO_KERNEL = [
    "ERROR",
    "10: [optimizer.cpp::computeCosts::2011] Error Code 10: Internal Error "
    "(Could not find any implementation for node MaxPool_2.)",
]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ({"crashes_above_mib": 300}, "died of signal 11 (SIGSEGV)"),
        ({"crashes_above_mib": 300, "says": [INSUFFICIENT]}, "out of memory: Skipping tactic 8"),
        ({"no_engine_above_mib": 300, "says": [INSUFFICIENT, NO_KERNEL]}, "Skipping tactic 8 due to insuf"),
        ({"no_engine_above_mib": 300, "says": [["ERROR", "1: Cudnn (CUDNN_STATUS_ALLOC_FAILED)"]]}, "ALLOC_FAILED"),
        (
            {"no_engine_above_mib": 300, "writes": "NvMapMemAllocInternalTagged: 1075072515 error 12\n"},
            "out of memory: NvMapMemAllocInternalTagged",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(sorted(value)),
)
def test_what_means_memory_gets_a_smaller_attempt(bundle, use, does, said):
    use("8.6", **does)
    record = built(bundle)
    assert record["workspace_mib"] == 256
    assert record["tactic_sources"] == ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"]
    assert said in record["attempts"][0]
    assert record["attempts"][1:] == ["built"]


@pytest.mark.parametrize("level", ["ERROR", "WARNING"])
def test_cuda_that_does_not_start_for_want_of_memory(bundle, use, level):
    """The builder is a null pointer, and pybind11 tells no more than that."""
    use(
        "8.2",
        no_builder=True,
        says=[[level, "CUDA initialization failure with error: 2. Please check your CUDA installation"]],
    )
    with pytest.raises(BuildError, match=r"out of memory in all 4 attempts.*failure with error: 2\. Please.*isolate"):
        built(bundle)
    use("8.2", no_builder=True, says=[[level, "CUDA initialization failure with error: 35. Please check"]])
    with pytest.raises(BuildError, match=r"TensorRT 8.2.1.8 does not start: CUDA init.*failure with error: 35"):
        built(bundle)


def test_an_engine_that_is_loaded_without_memory_to_start_is_one_line(tmp_path, monkeypatch):
    for switch in fakes.switching(tmp_path, monkeypatch):
        switch("8.2", no_runtime=True, says=[["ERROR", "CUDA initialization failure with error: 2. Please check"]])
        import tensorrt

        with pytest.raises(DeviceMemoryError, match="no memory to start with: CUDA initialization failure with"):
            trt_api.load_engine(tensorrt, trt_api.make_log(tensorrt), b"")
        switch("8.2", no_runtime=True, says=[["ERROR", "CUDA initialization failure with error: 35. Please check"]])
        import tensorrt

        with pytest.raises(BackendError, match="does not start: CUDA initialization failure with error: 35"):
            trt_api.load_engine(tensorrt, trt_api.make_log(tensorrt), b"")


def test_an_abort_is_memory_where_it_says_so(bundle, use):
    words = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    use("8.2", dies=True, writes=words)
    with pytest.raises(BuildError, match="out of memory in all 4 attempts, the last with 32 MiB of workspace"):
        built(bundle)
    harmless = [["WARNING", "Unable to determine GPU memory usage"]]
    use("8.2", dies=True, writes="free(): invalid pointer\n", says=harmless)
    with pytest.raises(BuildError, match=r"the build died of signal 6 \(SIGABRT\)"):
        built(bundle)


def test_a_crash_gets_one_smaller_attempt_and_an_honest_line(bundle, use, capfd):
    use("8.2", crashes_above_mib=1)
    with pytest.raises(BuildError) as error:
        built(bundle)
    assert str(error.value) == (
        "the build died of signal 11 (SIGSEGV) with 512 MiB of workspace and again with 256, so it may not be "
        "memory; the last lines above say where"
    )
    assert capfd.readouterr().err.count("build: attempt ") == 4  # two, begun and ended
    with pytest.raises(BuildError, match="again with 32, so it may not"):
        built(bundle, workspace_mib=64)


def test_a_crash_is_followed_by_the_whole_ladder_when_memory_shows(bundle, use):
    use("8.2", crashes_above_mib=300, no_memory_above_mib=40)
    record = built(bundle)
    assert record["workspace_mib"] == 32
    assert [line[:6] for line in record["attempts"]] == ["died o", "out of", "out of", "built"]


def test_a_layer_without_kernel_gets_one_attempt_with_more(bundle, use):
    use("8.6", no_kernel_below_mib=100)
    record = built(bundle, workspace_mib=32)
    assert (record["workspace_mib"], record["tactic_sources"]) == (128, None)
    assert "Could not find any implementation for node conv1/7x7_s2" in record["attempts"][0]
    use("8.6", no_memory_above_mib=300, no_kernel_without_libraries=True)
    record = built(bundle)
    assert (record["workspace_mib"], record["tactic_sources"]) == (256, None)
    assert len(record["attempts"]) == 3


def test_without_a_kernel_the_last_line_says_what_gives_more(bundle, use):
    use("8.6", no_kernel_below_mib=4000)
    with pytest.raises(BuildError) as error:
        built(bundle, workspace_mib=64)
    said = str(error.value)
    assert said.startswith("no kernel for a layer with 256 MiB of workspace: ")
    assert "Could not find any implementation for node conv1/7x7_s2" in said
    assert said.endswith("close other programs, and give it more: --workspace-mib 512")
    use("8.6", no_memory_above_mib=60, no_kernel_below_mib=40)
    with pytest.raises(BuildError) as error:
        built(bundle, workspace_mib=64)
    assert "with 32 MiB of workspace, and out of memory with more: " in str(error.value)


def test_a_budget_keeps_the_libraries_out_of_the_attempt_with_more(bundle, use):
    sign(bundle, memory_budget_mib=500)
    use("8.6", no_kernel_below_mib=100)
    record = built(bundle)
    assert (record["workspace_mib"], record["tactic_sources"]) == (128, ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"])
    use("8.6", no_kernel_without_libraries=True)
    with pytest.raises(BuildError, match="with cuBLAS and cuDNN if target.memory_mib and free memory leave them room"):
        built(bundle)


def test_skipped_tactics_of_a_build_that_succeeds_are_no_failure(bundle, use):
    use("8.6", says=[INSUFFICIENT])
    assert built(bundle)["attempts"] == ["built"]


@pytest.mark.parametrize(
    ("failed", "ran_out", "memory", "budget", "more"),
    [
        (Attempt(32, False), [], 4000, None, Attempt(128, True)),
        (Attempt(512, True), [], 4000, None, Attempt(2048, True)),
        (Attempt(512, True), [], 1600, None, None),  # there is no room for more
        (Attempt(256, False), [Attempt(512, True)], 4000, None, Attempt(256, True)),
        (Attempt(64, False), [Attempt(512, True)], 4000, None, Attempt(256, True)),
        (Attempt(128, False), [Attempt(512, True), Attempt(256, False)], 4000, None, Attempt(192, False)),
        (Attempt(64, False), [], 600, None, Attempt(64, True)),
        (Attempt(64, False), [], 4000, 500, Attempt(128, False)),
        (Attempt(32, False), [], 4000, 400, None),
    ],
)
def test_the_attempt_with_more(failed, ran_out, memory, budget, more):
    assert identity.with_more(failed, ran_out, {"available": memory}, budget) == more


class Silent(object):
    def errors(self):
        return []

    warnings = errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, "done"),
        (-signal.SIGKILL, "memory"),
        (137, "memory"),
        (-signal.SIGSEGV, "crash"),
        (139, "crash"),
        (-signal.SIGBUS, "crash"),
        (3, "memory"),
        (1, "other"),
        (4, "other"),
        (255, "other"),
    ],
)
def test_exit_codes(code, kind):
    assert build_end.ending(code, {}, Silent()).kind == kind


def test_each_kernel_is_timed_as_often_as_trtexec_does(bundle, use):
    for release in ("8.2", "11"):
        use(release)
        path = os.path.join(engine_file.engine_folder(bundle), built(bundle)["engine"])
        with open(path, "rb") as file:
            assert json.loads(file.read().splitlines()[1].decode())["timed"] == 8


@pytest.mark.parametrize(
    ("first", "then", "shared"),
    [
        (("MAXN", True), ("MAXN", False), False),
        (("MAXN", True), ("5W", True), False),
        ((None, None), (None, None), True),
    ],
)
def test_a_timing_cache_is_of_one_power_mode_and_of_locked_or_free_clocks(
    bundle, use, monkeypatch, tmp_path, first, then, shared
):
    def board_is(mode, locked):
        low = 921600000 if locked else 76800000
        root = tmp_path / ("root-%s-%s" % (mode, locked))
        if mode is not None:
            boards.nano(root, minimum=low, mode=0 if mode == "MAXN" else 1)
        return str(root)

    use("8.2")
    assert built(bundle, root=board_is(*first))["timing_cache_used"] is False
    assert built(bundle, root=board_is(*then))["timing_cache_used"] is shared
    assert built(bundle, root=board_is(*first))["timing_cache_used"] is True
