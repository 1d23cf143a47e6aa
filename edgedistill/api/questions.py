"""What needs no run and no board, as Python functions: will it fit, how fast, which student, what is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.api.options import refuse_unless_positive
from edgedistill.api.types import PathLike

if TYPE_CHECKING:
    from edgedistill.environment.doctor import Check
    from edgedistill.progress.reporter import Talk

IMAGENET_CLASSES = 1000


def check(
    model: PathLike,
    target: str = "jetson-nano",
    *,
    tensorrt: str | None = None,
    fix: PathLike | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    compile: bool = False,
    parse: bool = False,
    compile_seconds: float = 300,
    compile_mib: int = 4096,
) -> dict[str, Any]:
    """Whether the board's TensorRT will take an ONNX file: `edgedistill check`.

    Args:
        tensorrt: release of another JetPack than the target's, like "8.6".
        fix: a file to write a mended copy to, proved equal in ONNX Runtime.
        shape: with `fix`, sizes of inputs whose dimensions are open, by name.
        compile: also parse and build it with a TensorRT of this computer.
        parse: also ask the parser of a TensorRT of this computer, without a build.
        compile_seconds, compile_mib: time and memory at which the compiler is stopped.

    Returns:
        `fits`, `findings` (`level`, `node`, `why`, `mend` each), `target`, `tensorrt`, `basis`; `int8`, whether INT8
        is worth it there by its predicted speed-up; of a mended file `fix` too; with `compile` or `parse` the `compile`
        too, with its `verdict`.

    Raises:
        RecipeError: no such target or release; a limit of the compiler that is not above 0, or not finite.
        PreflightError: not an ONNX file, or one that cannot be mended; a shape without `fix`.
    """
    from edgedistill.errors import PreflightError
    from edgedistill.onnx_model.check import check as check_file
    from edgedistill.onnx_model.check import fix as fix_file

    refuse_unless_positive(compile_seconds=compile_seconds, compile_mib=compile_mib)
    if shape and fix is None:
        raise PreflightError("--shape goes with --fix OUT.onnx: it changes the file")
    if fix is not None:
        shapes = {name: tuple(sizes) for name, sizes in (shape or {}).items()}
        result = fix_file(Path(model), target, Path(fix), tensorrt, shapes)
    else:
        result = check_file(Path(model), target, tensorrt)
    result["int8"] = _int8_of(Path(model if fix is None else fix), target)
    if compile or parse:
        from edgedistill.config.target import load_target
        from edgedistill.onnx_model.backends import backend_of

        checked = Path(model if fix is None else fix)
        result["compile"] = backend_of(load_target(target)).compiled(checked, compile_seconds, compile_mib, not compile)
    return result


def _int8_of(model: Path, target: str) -> str:
    """Whether INT8 is worth it for a file, by its predicted speed-up: its drop of top-1 is not known."""
    from contextlib import suppress

    from edgedistill.config.target import load_target
    from edgedistill.errors import PreflightError
    from edgedistill.prediction.features import features_from_file
    from edgedistill.prediction.int8_worth import int8_speedup, int8_worth

    board, speedup = load_target(target), None
    if "int8" in board.precisions:
        with suppress(PreflightError):  # it cannot be counted; the findings say what is wrong with it
            speedup = int8_speedup(features_from_file(model), board.name)
    return int8_worth(board.name, speedup).sentence


def students(target: str = "jetson-nano", *, refresh: bool = False, output: PathLike | None = None) -> dict[str, Any]:
    """Student networks and which boards support them: `edgedistill students`.

    Args:
        refresh: export, check and compile all of them again first, which takes minutes.
        output: file that this writes; students.json in the current folder when None.

    Returns:
        `rows` with `model`, `parameters`, `macs`, and verdicts `export`, `preflight`, `compile`; and
        when and with what they were made. No board was asked.

    Raises:
        RecipeError: no such board, or `output` without `refresh`.
    """
    from edgedistill.errors import RecipeError
    from edgedistill.models.students import STORED, stored
    from edgedistill.models.students import students as table

    if output and not refresh:
        raise RecipeError("--output is what --refresh writes; give both, or leave --output out")
    if not refresh:
        return table(target, stored())
    from edgedistill.onnx_model.student_table import refresh as refresh_table
    from edgedistill.progress.reporter import Talk

    path, talk = Path(output or STORED), Talk()
    talk.say(f"the last refresh took {stored()['seconds']:.0f} s")
    made = refresh_table(path, talk.say)
    talk.say(f"written: {path}")
    return table(target, made)


def estimate(
    model: PathLike | None = None,
    target: str = "jetson-nano",
    precision: str = "fp16",
    *,
    image_px: int | tuple[int, int] | None = None,
    classes: int = 1000,
    batch: int = 1,
    mode: str | None = None,
    learn: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """How fast a network would be on a board, without the board: `edgedistill estimate`.

    Args:
        model: an ONNX file, or the name of a network of timm or torchvision; None is the one of `learn`.
        precision: asked for; with `learn` its precision.
        image_px: side or (height, width) of a named network, 224 when None; a file knows its own.
        classes: of a named network.
        batch: images at once.
        mode: power mode of the board, like "15W"; its usual one when None.
        learn: a bench's report of your own board, which is kept first and refines the model.
        quiet: nothing on stderr.

    Returns:
        `latency_ms` with its interval `latency_ms_low` and `latency_ms_high`, `fps`, `watts`, `image_mj`,
        `memory_mib`, `provenance`, ...

    Raises:
        UsageError: an image.
        RecipeError: no such network, board, power mode or size, nothing published to estimate from, or more memory
            needed than the board has.
    """
    from edgedistill.data.files import IMAGE_SUFFIXES
    from edgedistill.errors import RecipeError, UsageError
    from edgedistill.prediction.model import predict as predict_network

    if model is not None and Path(model).suffix.lower() in IMAGE_SUFFIXES:
        raise UsageError(f"{model} is an image; to classify images: edgedistill predict RUN {model}")
    network = model if model is None or isinstance(model, str) else Path(model)
    if learn is not None:
        network, image_px, precision = _learned(Path(learn), target, network, image_px, classes, quiet)
    if network is None:
        raise RecipeError("which network? give a file or a name, like mobilenetv3_small_100")
    return predict_network(network, target, precision, image_px, classes, mode=mode, batch=batch).as_dict


def _learned(
    report: Path,
    target: str,
    model: str | Path | None,
    image_px: int | tuple[int, int] | None,
    classes: int,
    quiet: bool,
) -> tuple[str | Path, int | tuple[int, int] | None, str]:
    """Keep a board's measurement: network, input size and precision to estimate then."""
    from edgedistill.errors import RecipeError
    from edgedistill.prediction.features import features_from_file
    from edgedistill.prediction.model import features_of_name, is_file
    from edgedistill.prediction.user_measurements import learn, measured_from_report
    from edgedistill.progress.reporter import Talk

    measured = measured_from_report(report)
    network = model or measured.model
    px = image_px or measured.image_px
    if is_file(network):
        features = features_from_file(Path(network))
    elif px is None:
        raise RecipeError(f"{report} does not say the input's size; give --image-px or the .onnx file")
    else:
        features = features_of_name(str(network).partition(".")[0], px, classes)
    count = learn(replace(measured, image_px=px), target, features)
    Talk(quiet).say(
        f"kept {measured.latency_ms:.2f} ms of {measured.model} on {measured.board}; {count} measurements of {target}"
    )
    return network, px, measured.precision


def choose(
    target: str = "jetson-nano",
    precision: str = "fp16",
    *,
    fps: float | None = None,
    memory_mib: float | None = None,
    camera: bool = False,
    mode: str | None = None,
    sizes: Sequence[int] = (224,),
    classes: int | None = None,
    plot: PathLike | None = None,
    into: PathLike | None = None,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Students for a board and a budget, best first: `edgedistill choose`.

    Args:
        fps, memory_mib: the budget; None is no limit.
        camera: the frames come at `fps`; each student gets the power mode of least energy that holds the rate.
        mode: power mode of the board, its usual one when None.
        sizes: image_px to try.
        classes: of the student; None: those of the images of `into`, else 1000.
        plot: an SVG file to draw accuracy over speed into.
        into: a recipe to write the first one into, where that fits: `student.model` and `data.image_px`.
        quiet: nothing on stderr.

    Raises:
        RecipeError: nothing is predicted for this board, it has no such power mode, a size is not in the catalogue, or
            a figure is not above 0, or not finite, or there are more than a million classes.
    """
    from edgedistill.prediction.choose import Budget
    from edgedistill.prediction.choose import choose as choose_students
    from edgedistill.progress.reporter import Talk

    refuse_unless_positive(fps=fps, memory_mib=memory_mib, classes=classes)
    talk = Talk(quiet)
    if classes is None:
        classes = IMAGENET_CLASSES if into is None else _classes_of_images(Path(into), talk)
    budget, largest_first = Budget(fps, memory_mib, camera), tuple(sorted(set(sizes), reverse=True))
    candidates = choose_students(target, precision, budget, largest_first, classes, mode)
    if plot is not None:
        from edgedistill.prediction.plot import plot_candidates

        shown = plot_candidates(candidates, fps, Path(plot))
        talk.say(f"{plot} shows {shown} students: those with a published accuracy for such images")
    best = candidates[0].prediction
    if into is not None and candidates[0].tier < 2 and isinstance(best.image_px, int):
        from edgedistill.config.edit import write_choice

        write_choice(Path(into), best.model, best.image_px)
        talk.say(f"wrote student.model = {best.model}, data.image_px = {best.image_px} into {into}")
    return [candidate.as_dict for candidate in candidates]


def published(target: str = "jetson-nano", model: str = "") -> list[dict[str, str]]:
    """What others measured on a board with TensorRT: `edgedistill published`.

    Args:
        model: only networks whose name contains this.

    Returns:
        A row for each measurement, all values as text, "" where not stated: `mode`, the power mode; `device`, `model`,
        `input_hw`, `batch`, `precision`, `runtime`, `runtime_version`, `fps`, `latency_ms`, `watts`, as the source has
        them; `grade`, A to D, how far it is to be trusted; `source`.

    Raises:
        RecipeError: no such board, or nothing is published of it or of such a network on it.
    """
    from edgedistill.config.target import load_target
    from edgedistill.errors import RecipeError
    from edgedistill.prediction.published import boards_with_rows, published_of

    rows = published_of(load_target(target).name)
    if not rows:
        raise RecipeError(
            f"no measurement of {target} is in the table; it has those of {', '.join(boards_with_rows())}"
        )
    named = [row for row in rows if model.lower() in row["model"].lower()]
    if not named:
        raise RecipeError(f"no row of {target} has a network with {model!r} in its name")
    return named


def _classes_of_images(recipe: Path, talk: Talk) -> int:
    """How many classes the images of a recipe have, by their labels; no image is decoded."""
    from edgedistill.config.loading import load_recipe
    from edgedistill.data.sources import list_items
    from edgedistill.errors import EdgeDistillError

    try:
        data = load_recipe(recipe).data
        classes = len({item.label for item in list_items(Path(data.train), data)})
    except EdgeDistillError as error:
        talk.say(f"counted with {IMAGENET_CLASSES} classes, since those of {recipe} are not known: {error}", "note")
        return IMAGENET_CLASSES
    talk.say(f"{classes} classes, as the images of {recipe} have")
    return classes


def doctor() -> list[Check]:
    """Check the installation, what is missing and what that costs: `edgedistill doctor`."""
    from edgedistill.environment.doctor import examine

    return examine()
