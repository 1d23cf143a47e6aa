"""What each release of TensorRT has that the board's code may use, and what a fake of it can be told to do."""

import os

RELEASES = {"8.2": "8.2.1.8", "8.6": "8.6.2", "10.3": "10.3.0", "10.16": "10.16.2", "11": "11.0.0", "11.4": "11.4.1"}
# Those of the boards with this Python: tests/device_test.sh names them, `make test` takes all.
TRIED = [name for name in RELEASES if name in os.environ.get("EDGEDISTILL_TENSORRT", " ".join(RELEASES)).split()]
SM = {
    "8.2": 72,
    "8.6": 87,
    "10.3": 87,
    "10.16": 87,
    "11": 89,
    "11.4": 87,
}  # of the GPU beside it, unless told otherwise
CUDA = {
    "8.2": (10, 2, 0),
    "8.6": (12, 2, 0),
    "10.3": (12, 6, 0),
    "10.16": (13, 2, 0),
    "11": (13, 0, 0),
    "11.4": (13, 2, 0),
}
BEHAVIOUR = {
    "sm": None,  # compute capability of the GPU
    "fast_int8": None,  # what platform_has_fast_int8 says; None: what the sm has
    "no_memory_above_mib": None,  # the build says "out of memory" with more workspace
    "killed_above_mib": None,  # the build is killed by SIGKILL with more workspace
    "dies": False,  # the build aborts
    "crashes_above_mib": None,  # the build dies of SIGSEGV with more workspace
    "says": (),  # [level, text]: lines of its log, before it ends as told
    "writes": None,  # what a library below it writes to stderr, past the log
    "no_engine_above_mib": None,  # the build gives None with more workspace
    "no_kernel_below_mib": None,  # a layer finds no kernel with less workspace,
    "no_kernel_without_libraries": False,  # or without cuBLAS and cuDNN
    "no_builder": False,  # the builder's constructor gives up
    "no_runtime": False,  # the runtime's
    "hangs": False,  # the build does not end
    "ignores_cache": False,  # the calibration cache is skipped whatever its header
    "disk_full": False,  # nothing can be written once the engine is built
    "parser_error": None,  # what the parser complains of
    "nan": False,  # the engine gives NaN
    "float_layers": False,  # the builder chooses FP32 for every layer
    "engines_that_fit": None,  # how many can be loaded before memory runs out
    "no_profile": False,  # nothing runs with a profiler attached
    "no_pycuda": False,
    "shares_memory": True,  # what pycuda says of the GPU; the fake libcudart asks FAKE_CUDA_SHARES
    "no_capture": False,  # something in the network cannot be captured
    "dies_in_capture": False,  # and ends the process
    "graph_adds": 0.0,  # to each logit, by a CUDA graph
    "mapped_adds": 0.0,  # and in mapped memory
    "wavers": False,  # kernels add in no fixed order: each run differs a little
    "queue_ms": 0.0,  # simulated time (fake_runtime.SPENT_MS) of queueing kernel by kernel,
    "copy_ms": 0.0,  # of copies,
    "mapped_ms": 0.0,  # of memory that bypasses caches,
    "level_ms": {},  # {optimisation level: ...}
    "timed_ms": {},  # and {timing iterations: ...} of the engine that it gives
}

# What each release has of the names that differ; what is in none of them is in all.
ONLY_IN = {
    "module.MemoryPoolType": ("8.6", "10.3", "10.16", "11", "11.4"),
    "module.TensorIOMode": ("8.6", "10.3", "10.16", "11", "11.4"),
    "module.IInt8EntropyCalibrator2": ("8.2", "8.6", "10.3", "10.16"),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ("8.2", "8.6", "10.3", "10.16"),
    "NetworkDefinitionCreationFlag.EXPLICIT_PRECISION": ("8.2", "8.6"),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ("10.3", "10.16", "11", "11.4"),
    "BuilderFlag.FP16": ("8.2", "8.6", "10.3", "10.16"),
    "BuilderFlag.INT8": ("8.2", "8.6", "10.3", "10.16"),
    "TacticSource.CUBLAS": ("8.2", "8.6", "10.3", "10.16"),
    "TacticSource.CUBLAS_LT": ("8.2", "8.6", "10.3", "10.16"),
    "TacticSource.CUDNN": ("8.2", "8.6", "10.3", "10.16"),
    "TacticSource.EDGE_MASK_CONVOLUTIONS": ("8.6", "10.3", "10.16", "11", "11.4"),
    "TacticSource.JIT_CONVOLUTIONS": ("8.6", "10.3", "10.16", "11", "11.4"),
    "Builder.platform_has_fast_fp16": ("8.2", "8.6", "10.3", "10.16"),
    "Builder.platform_has_fast_int8": ("8.2", "8.6", "10.3", "10.16"),
    "IBuilderConfig.max_workspace_size": ("8.2", "8.6"),
    "IBuilderConfig.set_memory_pool_limit": ("8.6", "10.3", "10.16", "11", "11.4"),
    "IBuilderConfig.builder_optimization_level": ("8.6", "10.3", "10.16", "11", "11.4"),
    "IBuilderConfig.int8_calibrator": ("8.2", "8.6", "10.3", "10.16"),
    "ICudaEngine.num_bindings": ("8.2", "8.6"),
    "ICudaEngine.get_binding_name": ("8.2", "8.6"),
    "ICudaEngine.get_binding_shape": ("8.2", "8.6"),
    "ICudaEngine.get_binding_dtype": ("8.2", "8.6"),
    "ICudaEngine.binding_is_input": ("8.2", "8.6"),
    "ICudaEngine.num_io_tensors": ("8.6", "10.3", "10.16", "11", "11.4"),
    "ICudaEngine.get_tensor_name": ("8.6", "10.3", "10.16", "11", "11.4"),
    "ICudaEngine.get_tensor_mode": ("8.6", "10.3", "10.16", "11", "11.4"),
    "ICudaEngine.get_tensor_shape": ("8.6", "10.3", "10.16", "11", "11.4"),
    "ICudaEngine.get_tensor_dtype": ("8.6", "10.3", "10.16", "11", "11.4"),
    "IExecutionContext.execute_async_v2": ("8.2", "8.6"),
    "IExecutionContext.execute_async_v3": ("8.6", "10.3", "10.16", "11", "11.4"),
    "IExecutionContext.set_tensor_address": ("8.6", "10.3", "10.16", "11", "11.4"),
}
