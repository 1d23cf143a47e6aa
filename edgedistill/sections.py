"""The sections of a recipe, each a frozen value; every key has its unit or range beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedistill.data.values import ImagePx, SixteenBit, range_of
from jetson.preprocess import size_of

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,200}$")]
PlainPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+=@/][A-Za-z0-9_.+=@/-]{0,200}$")]
Metric = Literal["top1_fraction", "balanced_accuracy_fraction"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the images are and how they are split and framed."""

    train: str
    """folder with one folder per class, a CSV / parquet file with a path and a label column, or
    WebDataset shards: a .tar, a folder of them, or `shards-{0000..0127}.tar`"""
    val: str | None = None
    """the same, for choosing and gating; split off `train` when absent"""
    test: str | None = None
    """the same, for the figures in the report; split off `train` when absent"""
    unlabelled: str | None = None
    """images without labels: a folder of any shape, a CSV / parquet file, or shards; copies of
    labelled images, and look-alikes of `val` and `test`, are left out"""
    store: Literal["decoded", "files"] = "decoded"
    """keep resized pixels in the run, or (large sets) decode the files at each access"""
    path_column: str = "path"
    """CSV / parquet: column of image paths, relative to the file; where it is missing, usual names
    like `filename`, `image`, `id_code` are taken"""
    label_column: str = "label"
    """CSV / parquet: column of class names; where it is missing, usual names like `class`,
    `diagnosis`, or one column of 0 and 1 for each class (exactly one 1 in a row) are taken"""
    split_column: str | None = None
    """CSV / parquet: column of train, val and test; a column `split` is taken when absent; "" for none"""
    image_root: str | None = None
    """CSV / parquet: folder that the paths are relative to, itself relative to the table; `{table}`
    stands for the table's name. Images that are not directly there are found below it by name"""
    suffix: str = ""
    """CSV / parquet: ending of the files, where the paths are written without it, like `.png`"""
    leave_out: tuple[str, ...] = ()
    """images left out, by patterns on the path below the source or on the name, like `*_mask.png`"""
    same_names: Literal["refuse", "keep"] = "refuse"
    """what to do with a folder whose images come in pairs like a.jpg and a.png, or a.png and
    a_mask.png: the second ones may be masks; `keep` learns from both"""
    small_classes: Literal["refuse", "drop", "merge"] = "refuse"
    """what to do with classes of less than min_class_images images; `merge` makes one class `other`"""
    min_class_images: Annotated[int, Field(ge=0)] = 0
    """fewest images of a class, of all splits together; 0 means one for each split that is made"""
    group_column: str | None = None
    """CSV / parquet: images with the same value never fall into different splits"""
    group_pattern: str | None = None
    """regular expression, searched for in the path below the source; images with the same first group
    stay together"""
    group_by: Literal["folder"] | None = None
    """`folder`: images of one folder below the class folder stay together, as in CLASS/PART/image.jpg"""
    near_duplicate_similarity: Fraction = 0.9
    """correlation from which two images count as one and stay in one split; 0 turns it off, which
    more than 100,000 labelled images need"""
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `val` is absent"""
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `test` is absent"""
    split_seed: Seed = 0
    """changes which images are split off"""
    skip_unreadable: bool = False
    """leave unreadable images out (they are listed) instead of stopping"""
    image_px: ImagePx = 224
    """side of the network's square input, or its `[height, width]`, pixels"""
    fit: Literal["crop", "pad", "squash"] = "crop"
    """of pictures of another shape: the middle, all with grey bars, or all with another aspect"""
    crop_fraction: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """fit = "crop": image_px / short side after the resize; the student model's own when absent"""
    sixteen_bit: SixteenBit = "full"
    """16-bit values that become 0 and 255: the `full` range, a number of bits (12: 0 to 4095), or
    `[low, high]`; others are clipped"""
    training_px: Annotated[int, Field(ge=32, le=4096)] | None = None
    """short side that training crops are cut from; image_px / sqrt(augment.crop_scale_min) when absent"""
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    """of the resize; `area` is the one that does not alias when shrinking"""
    balance: Literal["none", "sample", "loss"] = "none"
    """meet imbalance by drawing rare classes more often, or by weighing their loss"""
    metric: Metric = "top1_fraction"
    """what retention and gain are computed from"""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input, pixels."""
        return size_of(self.image_px)

    @property
    def sixteen_bit_range(self) -> tuple[int, int]:
        """(low, high): the 16-bit values that become 0 and 255."""
        return range_of(self.sixteen_bit)

    @property
    def images(self) -> dict[str, Any]:
        """What the decoded and split images depend on: all but how they are used later.

        Keys that came later are left out at their default, so that older artifacts stay fresh.
        """
        newer = {
            name
            for name in (
                "unlabelled",
                "store",
                "group_by",
                "fit",
                "sixteen_bit",
                "split_column",
                "image_root",
                "suffix",
                "leave_out",
                "same_names",
                "small_classes",
                "min_class_images",
            )
            if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_dump(mode="json", exclude={"balance", "metric", "training_px", *newer})


class AugmentConfig(Section):
    """Training views, made by albumentations from a stored seed."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.5
    """smallest share of the image's area that a random crop keeps"""
    transforms: tuple[dict[str, Any], ...] = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "RandomBrightnessContrast", "p": 0.5},
    )
    """albumentations transforms after the crop, by name with their arguments"""


class TrainingConfig(Section):
    """What every training has; the sections below set their own defaults."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """passes over the training images"""
    min_steps: Annotated[int, Field(ge=0)] = 0
    """optimizer steps at least: few images get more epochs than `epochs`; epochs = 0 stays 0"""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """images per optimizer step"""
    peak_lr: Positive = 1e-3
    """highest learning rate (AdamW), used as written, never rescaled by batch size"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's; not on biases, norms, and what timm's `no_weight_decay()` of the model names"""
    warmup_fraction: Fraction = 0.1
    """share of the steps in which the learning rate rises; it then falls as a cosine"""
    seed: Seed = 0
    """of initialisation, order of images, and augmentation: another seed trains on other views"""


class TeacherConfig(TrainingConfig):
    """The network that teaches."""

    model: str = "tf_efficientnet_lite0"
    """any timm model name"""
    weights: str = "hub"
    """`hub`, `scratch`, `package:efficientnet_lite0`, or a file: a state dict or a checkpoint of timm,
    torchvision or Lightning, .safetensors or torch's"""
    classes: str | None = None
    """file of the class names of that file's head, in its order, one a line or JSON; names in the file
    itself are read without it"""
    mode: Literal["finetune", "probe", "auto"] = "finetune"
    """train the whole network; or a logistic head on its features, for the price of a few forward passes;
    or both, and keep the one that is better on the validation images (the head where they are few);
    `auto` with epochs = 0 or weights = "scratch" is `finetune`"""
    probe_views: Annotated[int, Field(ge=0, le=100)] = 2
    """probe: training views of each image that the head learns from, beside the image itself"""
    epochs: Annotated[int, Field(ge=0)] = 5
    """fine-tuning passes; 0 uses the weights as they are"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """of the hard labels; anything above 0 is known to make a worse teacher"""
    min_top1_fraction: Fraction = 0.0
    """below this on the validation images the run stops"""
    min_balanced_accuracy_fraction: Fraction = 0.0
    """the same for the mean of the per-class recalls"""

    @property
    def training(self) -> dict[str, Any]:
        """What the weights depend on: all but the gates, and but what the mode does not read."""
        unread = {"min_top1_fraction", "min_balanced_accuracy_fraction"}
        if self.tries == ("finetune",):
            unread |= {"mode", "probe_views"}  # as before there were modes, so that older artifacts stay fresh
        return self.model_dump(mode="json", exclude=unread)

    @property
    def learns_head(self) -> bool:
        """Whether a head is trained, so that weights need not bring one."""
        return self.mode == "probe" or self.epochs > 0

    @property
    def tries(self) -> tuple[str, ...]:
        """Ways that the teacher is made in, of `probe` and `finetune`; the best is kept."""
        if self.mode != "auto":
            return (self.mode,)
        # Without epochs the weights are wanted as they are, and random features are worth nothing.
        return ("finetune",) if self.epochs == 0 or self.weights == "scratch" else ("probe", "finetune")


class StudentConfig(Section):
    """The network that goes onto the board."""

    model: str = "mobilenetv3_small_100"
    """a timm MobileNet (V1 to V4), EfficientNet-Lite/B0, squeezenet1_1, ...: `edgedistill students`"""
    weights: str = "hub"
    """as in [teacher]"""
    classes: str | None = None
    """as in [teacher]"""
    output: Literal["logits", "embedding"] = "logits"
    """`embedding`: no classes (timm's num_classes = 0), trained on the teacher's features"""


class NetConfig(Section):
    """A further network by name."""

    model: str
    """any timm model name, or a SqueezeNet"""
    weights: str = "hub"
    """as in [teacher]"""
    classes: str | None = None
    """as in [teacher]"""


class DistillConfig(TrainingConfig):
    """How the student learns; the baseline takes the same recipe without the teacher's terms."""

    method: Literal["kd", "ensemble", "progressive", "self", "data_free"] = "kd"
    """who teaches, and for `data_free` on what; docs/methods.md"""
    pool: Literal["beside", "instead"] = "beside"
    """data.unlabelled, when given, is learnt from beside or instead of the labelled images"""
    loss: Literal["kd", "dkd", "dist", "wttm", "mse"] = "kd"
    """how the student's logits are compared with the teacher's"""
    temperature: Positive = 4.0
    """softmax temperature of both networks; wttm takes its inverse as the power; mse has none"""
    standardise: bool = False
    """compare standardised logits (kd and dkd; not for two classes)"""
    dkd_beta: Annotated[float, Field(ge=0)] = 2.0
    """dkd: weight of the classes that are not the label's, beside 1 for the label's"""
    kd_weight: Fraction = 0.9
    """of the soft-label term; the hard labels get 1 - kd_weight"""
    feature_weight: Annotated[float, Field(ge=0)] = 0.0
    """of the match of features; 0 leaves it out. Alone, or strong, it hurts MobileNets"""
    feature_loss: Literal["pooled", "relational", "fitnet", "attention", "review"] = "pooled"
    """the first two use cached pooled features; the others feature maps of the teacher, online"""
    student_taps: tuple[str, ...] = ()
    """modules whose feature maps are matched; found by depth when empty"""
    teacher_taps: tuple[str, ...] = ()
    """the same in the teacher"""
    feature_warmup_fraction: Fraction = 0.1
    """share of the steps in which feature_weight rises from 0"""
    teachers: tuple[NetConfig, ...] = ()
    """ensemble: further teachers, fine-tuned as [teacher] says; logits are averaged"""
    assistants: tuple[NetConfig, ...] = ()
    """progressive: networks between teacher and student, biggest first; chosen when empty"""
    generations: Annotated[int, Field(ge=1, le=10)] = 2
    """self: how often the student is taught anew by its predecessor"""
    seeds: Annotated[int, Field(ge=1, le=50)] = 1
    """trainings of baseline and student, with seed, seed + 1, ...; the first one is deployed"""
    epochs: Annotated[int, Field(ge=1)] = 30
    """passes over the training images"""
    keep: Literal["last", "best"] = "last"
    """weights of the last epoch, or of the one with the best data.metric on the validation images;
    of teacher, baseline and student alike"""
    views: Annotated[int, Field(ge=1, le=1000)] = 8
    """cached teacher views per image and seed; epoch e trains on view e modulo views"""
    mixup_alpha: Annotated[float, Field(ge=0)] = 0.0
    """mix each view with another image's, shares drawn from Beta(alpha, alpha); 0 is off"""
    cutmix_alpha: Annotated[float, Field(ge=0)] = 0.0
    """the same by pasting a box; with both, each view takes one of them"""
    mix_fraction: Fraction = 1.0
    """of all views that are mixed"""
    synthetic_images: Annotated[int, Field(ge=2)] = 600
    """data_free: images made from the teacher's weights"""
    synthetic_steps: Annotated[int, Field(ge=1)] = 50
    """data_free: optimizer steps for each batch of them"""

    @property
    def cache_features(self) -> bool:
        """Whether the teacher's pooled features are cached beside its logits."""
        return self.feature_weight > 0 and self.feature_loss in {"pooled", "relational"}

    @property
    def cached_views(self) -> int:
        """Views of each image that the teacher is asked about: those of each of `seeds`."""
        return self.views * self.seeds

    @property
    def matches_maps(self) -> bool:
        """Whether the teacher runs beside the student, because feature maps are not cached."""
        return self.feature_weight > 0 and not self.cache_features

    @property
    def synthetic(self) -> int | None:
        """Number of synthesised images that the student learns from, None when from real ones."""
        return self.synthetic_images if self.method == "data_free" else None

    @property
    def mixing(self) -> dict[str, float]:
        """What the views of the student depend on beside [augment]."""
        return {key: getattr(self, key) for key in ("mixup_alpha", "cutmix_alpha", "mix_fraction")}


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
    max_int8_drop_points: Annotated[float, Field(ge=0)] | None = None
    """top-1 on validation images that INT8 may cost; above it layers are left in float"""
    qad_epochs: Annotated[int, Field(ge=0)] = 0
    """passes of quantization-aware distillation; kept only if better on validation images"""


class TargetConfig(Section):
    """The board."""

    device: str = "jetson-nano"
    """a file in edgedistill/targets, without .toml"""
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
    golden_images: Annotated[int, Field(ge=1, le=512)] = 32
    """test images that travel in the bundle with the workstation's logits"""
    bench_runs: Annotated[int, Field(ge=10)] = 200
    """timed inferences, after warm-up"""
    sign_key: str | None = None
    """key that signs the bundle, by its name: `edgedistill keys new`; not signed when absent"""
    sign_command: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    """program and arguments that sign instead of the key's private half (KMS, PKCS#11, cosign):
    manifest on stdin, signature on stdout; may hold a secret, so it is copied into no artifact"""


class RunConfig(Section):
    """This computer."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where training runs"""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of PyTorch; 0 is one per core. Other counts give other last bits"""
    checkpoint_seconds: Positive = 20.0
    """time between two resumable checkpoints"""
    tensorboard: bool = True
    """also write TensorBoard event files"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """of training; `auto` times float32, bfloat16 and memory layouts at the start, takes the fastest"""
    cache_dir: str | None = None
    """folder of teachers' cached outputs that several runs share; they lie in the run when absent"""
