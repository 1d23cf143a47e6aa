"""The recipe's [teacher], [student] and [distill]: what is trained, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgedistill.config.base import Fraction, Positive, Section, Seed
from edgedistill.config.methods import FeatureLossName, LogitLossName, feature_loss_row
from edgedistill.config.task import CLASSIFICATION, OutputName
from edgedistill.config.values import TeacherPx


class TrainingConfig(Section):
    """What every training has; the sections below set their own defaults."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """passes over the training images"""
    min_steps: Annotated[int, Field(ge=0)] = 0
    """optimizer steps at least: few images get more epochs than `epochs`; epochs = 0 stays 0"""
    steps: Annotated[int, Field(ge=0)] = 0
    """optimizer steps, whatever `epochs` and `min_steps` say; 0 leaves it to them, and epochs = 0 stays 0"""
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

    def doubled(self) -> list[str]:
        """`key=value` of a training twice as long."""
        return [f"steps={2 * self.steps}" if self.steps else f"epochs={2 * max(1, self.epochs)}"]


class TeacherConfig(TrainingConfig):
    """The network that teaches."""

    model: str = "tf_efficientnet_lite0"
    """any timm model name"""
    weights: str = "hub"
    """`hub`, `scratch`, `package:efficientnet_lite0` (lite1, lite2), or a file: a state dict or a checkpoint of timm,
    torchvision or Lightning, .safetensors or torch's"""
    classes: str | None = None
    """file of the class names of that file's head, in its order, one a line or JSON; names in the file
    itself are read without it"""
    mode: Literal["finetune", "probe", "auto", "both"] = "finetune"
    """train the whole network; or a logistic head on its features, for the price of a few forward passes;
    `auto`: both, and keep the one that is better on images that neither has learnt from (the head where they do not
    tell); `both`: the student learns from the mean of their logits, unless one is worse beyond chance. These two with
    epochs = 0 or weights = "scratch" are `finetune`"""
    tta: Literal["none", "flip"] = "none"
    """`flip`: the teacher's cached logits are the mean over each view and its mirror image, for twice the forward
    passes; only where a mirror image is of the same class"""
    choice_minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    """auto, where validation images are few: time for fine-tuning on up to three folds of training and validation
    images, to compare it with the head on those left out; 0 keeps the head"""
    image_px: TeacherPx | None = None
    """the teacher sees the student's images enlarged to this side, or `[height, width]`, pixels, nearer to what its
    weights were trained at (ImageNet: 224); as data.image_px when absent. Dearer answers, the student's steps cost as
    before"""
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
        unread = {"min_top1_fraction", "min_balanced_accuracy_fraction", "tta"}
        # Keys that came later are left out where they change nothing, so that older artifacts stay fresh.
        unread |= {
            name
            for name in ("steps", "choice_minutes", "image_px")
            if getattr(self, name) == type(self).model_fields[name].default
        }
        if self.tries == ("finetune",):
            unread |= {"mode", "probe_views", "choice_minutes"}
        if self.averages:
            unread.add("choice_minutes")
        return self.model_dump(mode="json", exclude=unread)

    @property
    def learns_head(self) -> bool:
        """Whether a head is trained, so that weights need not bring one."""
        return self.mode == "probe" or self.epochs > 0

    @property
    def averages(self) -> bool:
        """Whether the student learns from the mean of both."""
        return self.mode == "both" and len(self.tries) > 1

    @property
    def answers(self) -> dict[str, str] | None:
        """How it is asked about a view; None, as before it could be named, once and as it is."""
        return None if self.tta == "none" else {"tta": self.tta}

    def more(self, only_probed: bool) -> tuple[str, str]:
        """What to try first for more of this network, in words and as `section.key=value`.

        Args:
            only_probed: the teacher is a probe, and fine-tuning was not tried.
        """
        if only_probed:
            return "fine-tune it too", f"teacher.mode={'finetune' if self.mode == 'auto' else 'auto'}"
        return "train it longer", f"teacher.{self.doubled()[0]}"

    @property
    def tries(self) -> tuple[str, ...]:
        """Ways that the teacher is made in, of `probe` and `finetune`."""
        if self.mode not in {"auto", "both"}:
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
    output: OutputName = CLASSIFICATION.output
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
    pool_temperature: Positive | None = None
    """softmax temperature on images without a label; as `temperature` when absent; the loss dist has none"""
    pool_kd_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """weight of the soft-label term on images without a label; as `kd_weight` when absent"""
    pool_min_confidence: Fraction = 0.0
    """images without a label are left out whose most probable class, by the teacher's mean over their cached views
    at temperature 1, has less; 0 keeps all"""
    pool_shares: tuple[Fraction, ...] = ()
    """shares of the pool, below 1, that a further student each is trained on: accuracy against the size of the pool
    for the report, and what a larger one would bring; `[0, 0.25, 0.5]` costs three trainings"""
    loss: LogitLossName = "kd"
    """how the student's logits are compared with the teacher's"""
    temperature: Positive = 4.0
    """softmax temperature of both networks; wttm takes its inverse as the power; mse has none"""
    standardise: bool = False
    """compare standardised logits (kd and dkd; not for two classes)"""
    dkd_beta: Annotated[float, Field(ge=0)] = 2.0
    """dkd: weight of the classes that are not the label's, beside 1 for the label's"""
    kd_weight: Fraction = 0.9
    """of the soft-label term; the hard labels get 1 - kd_weight"""
    label_error_fraction: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """share of the labels that may be wrong: of an image with a label the student is taught the teacher's answer
    given that label (Bayes' rule); absent: the teacher's answer alone, right or wrong"""
    feature_weight: Annotated[float, Field(ge=0)] = 0.0
    """of the match of features; 0 leaves it out. Alone, or strong, it hurts MobileNets"""
    feature_loss: FeatureLossName = "pooled"
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
    """self: how often the student is retrained with its predecessor as the teacher"""
    seeds: Annotated[int, Field(ge=1, le=50)] = 1
    """trainings of baseline and student, with seed, seed + 1, ...; the first one is deployed"""
    epochs: Annotated[int, Field(ge=1)] = 30
    """passes over the training images"""
    minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """time for each training of the student: as many steps as fit on this computer, by its first steps and at most
    `steps` where that is set, whatever `epochs` says; the baseline takes as many. 0 is no limit"""
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
        return self.feature_weight > 0 and feature_loss_row(self.feature_loss).cached

    @property
    def cached_views(self) -> int:
        """Views of each image that the teacher is asked about: those of each of `seeds`."""
        return self.views * self.seeds

    @property
    def matches_maps(self) -> bool:
        """Whether the teacher runs beside the student, because feature maps are not cached."""
        return self.feature_weight > 0 and not self.cache_features

    def doubled(self) -> list[str]:
        if not self.minutes:
            return super().doubled()
        return [f"minutes={2 * self.minutes:g}", *(super().doubled() if self.steps else ())]

    @property
    def length(self) -> dict[str, float] | None:
        """How long a training is where epochs do not say it; None, as before it could be named, where they do."""
        return {key: getattr(self, key) for key in ("steps", "minutes") if getattr(self, key)} or None

    @property
    def pooling(self) -> dict[str, float] | None:
        """How images without a label are learnt from; None, as before it could be named, where as the others."""
        given = {key: getattr(self, key) for key in ("pool_temperature", "pool_kd_weight")}
        given = {key: value for key, value in given.items() if value is not None}
        if self.pool_min_confidence:
            given["pool_min_confidence"] = self.pool_min_confidence
        return given or None

    @property
    def synthetic(self) -> int | None:
        """Number of synthesised images that the student learns from, None when from real ones."""
        return self.synthetic_images if self.method == "data_free" else None

    @property
    def mixing(self) -> dict[str, float]:
        """What the views of the student depend on beside [augment]."""
        return {key: getattr(self, key) for key in ("mixup_alpha", "cutmix_alpha", "mix_fraction")}
