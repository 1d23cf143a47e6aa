"""The recipe's [export], [quantize], [target], [deploy] and [run]."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedistill.config.base import Fraction, Host, PlainPath, Positive, Section, Seed
from edgedistill_device.benchmark.benchreport import FEWEST_RUNS, MOST_RUNS


class ExportConfig(Section):
    """The ONNX file."""

    normalise_in_graph: bool = False
    """the student's file takes pixels of 0..255 as float32, so that the board only resizes"""


class QuantizeConfig(Section):
    """INT8 scales, and what INT8 may cost."""

    calibration_images: Annotated[int, Field(ge=8)] = 128
    """training images the activation ranges are taken from"""
    threshold: Literal["mse", "entropy", "percentile", "minmax"] = "mse"
    """how a range is cut"""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """of |x|, for threshold = "percentile\""""
    seed: Seed = 0
    """chooses the calibration images"""
    ptq_images: Annotated[int, Field(ge=0)] = 32
    """calibration images, at most, that channels are equalised, biases corrected and weights rounded on, each kept only
    if INT8 comes closer to float on other calibration images; the time grows with them; 0 leaves the weights alone"""
    max_int8_drop_points: Annotated[float, Field(ge=0)] | None = None
    """top-1 on validation images that INT8 may cost; above it layers are left in float"""
    qad_epochs: Annotated[int, Field(ge=0)] = 0
    """passes of quantization-aware distillation, in at most a tenth of the student's steps; kept only if closer to
    float on validation images, and no fewer of them right"""


class TargetConfig(Section):
    """The board."""

    device: str = "jetson-nano"
    """a file in edgedistill/config/targets, without .toml"""
    tensorrt: str | None = None
    """release that the board has, like "11.4", where its JetPack is another than the target's file assumes"""
    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    """asked for; the report says what the board will really execute"""
    fps: Positive | None = None
    """wanted frames per second"""
    memory_mib: Positive | None = None
    """memory the process may take on the board, MiB; below 1306 its engine is built without cuBLAS and cuDNN"""
    min_retention_fraction: Fraction | None = None
    """share of the teacher's data.metric that the student is to keep; the report judges it"""


class DeployConfig(Section):
    """Where the bundle is verified and timed."""

    hosts: tuple[Host, ...] = ("local",)
    """`local`: this computer with ONNX Runtime, a stand-in that is labelled as one; or boards, by any
    name that `ssh` accepts"""
    until: Literal["bench", "activate"] = "activate"
    """where a board stops: timed, or serving the student"""
    root: PlainPath = "edgedistill"
    """folder on the boards, relative to the login's home"""
    python: PlainPath = "python3"
    """interpreter on the boards"""
    ssh_config: Annotated[str | None, Field(exclude=True)] = None
    """file that `ssh` reads instead of the user's own"""
    allow_below_chance: bool = False
    """bundle a student that is no better than always naming the largest class; else the run stops after its test"""
    golden_images: Annotated[int, Field(ge=1, le=512)] = 32
    """test images that travel in the bundle with the workstation's logits"""
    bench_runs: Annotated[int, Field(ge=FEWEST_RUNS, le=MOST_RUNS)] = 200
    """timed inferences, after warm-up, 10 to 50000"""
    sign_key: str | None = None
    """key that signs the bundle, by its name: `edgedistill keys new`; when absent, the one that signed the run's
    bundle, and without one it is unsigned, as with \"\""""
    sign_command: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    """program and arguments that sign instead of the key's private half (KMS, PKCS#11, cosign):
    manifest on stdin, signature on stdout; may hold a secret, so it is copied into no artifact"""


class RunConfig(Section):
    """This computer."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where training runs"""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of PyTorch; 0 measures at the start how many are fastest, at most one for each core that this process
    may use. Other counts give other last bits"""
    parallel_trainings: Annotated[int, Field(ge=0, le=1024)] = 0
    """trainings of baseline and student, and of their seeds, at the same time, each in a process of its own with its
    share of the cores; 0: on a CPU one a core where memory allows it, on a GPU one; 1: one after the other"""
    checkpoint_seconds: Positive = 20.0
    """time between two resumable checkpoints"""
    tensorboard: bool = True
    """also write TensorBoard event files"""
    trackers: tuple[Literal["mlflow", "wandb"], ...] = ()
    """also tell each training's curves to MLflow or Weights & Biases; their own settings say where those are"""
    precision: Literal["mixed", "fp32", "bf16", "auto"] = "mixed"
    """of training; `mixed` is float32 on a CPU and bfloat16 where a GPU has hardware for it; `auto` times float32,
    bfloat16, memory layouts and, in long trainings, `torch.compile` at the start, takes the fastest; a teacher's cached
    answers are bfloat16 on a CPU with instructions for it too, unless `fp32`"""
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto"
    """processes that make training views; 0 makes them in threads of the training's own process; `auto` starts one a
    core where there are four or more and the network waits for views. The views are the same"""
    cache_dir: str | None = None
    """folder of teachers' cached outputs that several runs share; they lie in the run when absent"""
