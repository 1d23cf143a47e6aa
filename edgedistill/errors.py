"""Everything edgedistill refuses, as one tree.

    EdgeDistillError            a person can mend it: one line, exit code 1
    |-- UsageError              options that do not go together; exit code 2
    |-- RecipeError             a key, a value or a combination in the recipe
    |-- DataError               images, labels, splits
    |-- WeightsError            a file or a name that does not give the model asked for
    |-- TeacherError            a teacher that must not teach: wrong head, too weak
    |-- StudentError            a student that must not be bundled: no better than chance
    |-- TrainingError           a loss that is not finite, a checkpoint that does not fit
    |-- ExportError             an ONNX file that differs from its PyTorch model, or cannot be made
    |-- PreflightError          an ONNX file that the target's TensorRT will not take
    |-- QuantizeError           calibration or INT8 that cannot be trusted
    |-- BundleError             a bundle that is incomplete or does not agree with its manifest
    |-- SigningError            a key, or a program that signs, that does not give a good signature
    |-- DeviceError             a board, or its stand-in, that failed
    |   |-- SshError            no connection to it, or one that ended
    |   `-- BoardError          it refused, with its own message, or its answer is not one of edgedistill_device
    |-- InventoryError          a fleet's file: a key, a value, a board that it does not have
    `-- RunFolderError          a run folder that is locked, full, or not ours

Each message says what was expected, what came, and what to do.
"""


class EdgeDistillError(Exception):
    """Base of the tree above."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception means; PyTorch, oneDNN, OpenCV, ONNX Runtime have their own.

    One that was met while another was handled means what that one did: `torch.save` ends a file that ran out of memory
    with an error of its own.
    """
    said, before = str(error), error.__context__
    if before is not None and is_out_of_memory(before):
        return True
    return isinstance(error, MemoryError) or any(
        words in said
        for words in (
            "not enough memory",
            "out of memory",
            "Insufficient memory",
            "bad_alloc",
            "bad allocation",
            "Failed to allocate memory",
            "Cannot allocate memory",
            "can't start new thread",
            "could not create a primitive",
            "could not execute a primitive",
        )
    )


class UsageError(EdgeDistillError):
    pass


class RecipeError(EdgeDistillError):
    pass


class DataError(EdgeDistillError):
    pass


class WeightsError(EdgeDistillError):
    pass


class TeacherError(EdgeDistillError):
    pass


class StudentError(EdgeDistillError):
    pass


class TrainingError(EdgeDistillError):
    pass


class ExportError(EdgeDistillError):
    pass


class PreflightError(EdgeDistillError):
    pass


class QuantizeError(EdgeDistillError):
    pass


class BundleError(EdgeDistillError):
    pass


class SigningError(EdgeDistillError):
    pass


class DeviceError(EdgeDistillError):
    pass


class SshError(DeviceError):
    pass


class BoardError(DeviceError):
    pass


class InventoryError(EdgeDistillError):
    pass


class RunFolderError(EdgeDistillError):
    pass
