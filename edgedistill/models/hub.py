"""Pretrained weights from torchvision's and timm's hubs, and from the caches that those leave.

A cache is a folder that other programs write too, so a file in it is trusted no more than a download:
its SHA-256 is compared each time, and it is read as tensors alone, never as pickled objects.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from torch import Tensor

from edgedistill.core.files import sha256_of
from edgedistill.errors import WeightsError

# File name -> SHA-256, where the whole of it is published. Of others the file name has the first 8 to
# 10 digits, which somebody who tries 2^32 files can meet: those are only ever read as tensors.
# squeezenet1_1: 4,958,839 bytes; the same 64 digits in several public repositories that pin it.
PINNED = {
    "squeezenet1_1-b8a52dc0.pth": "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
}
_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # as torch.hub reads it
_FORCE, _FORBID = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def torchvision_file(name: str) -> Path:
    """The weights file of a torchvision model in torch.hub's cache; downloaded when it is not there.

    Raises:
        WeightsError: no such download, or the file's SHA-256 is another.
    """
    from torchvision.models import get_model_weights

    with _as_weights_error(name):
        return _checked_file(get_model_weights(name).DEFAULT.url)


def timm_state(name: str) -> dict[str, Tensor]:
    """The pretrained tensors of a timm model, by timm's names.

    Raises:
        WeightsError: no such download, or a file's SHA-256 is another.
    """
    with _as_weights_error(name):
        source = timm.models.get_pretrained_cfg(name)
        if source is not None and source.url and not source.hf_hub_id:
            if not isinstance(source.url, str):
                raise WeightsError(f"{name}: expected one address of its weights, timm gives {source.url}")
            _checked_file(source.url)  # timm compares a download, and never the file in its cache
        timm.models.set_pretrained_check_hash(True)
        with _without_pickle():
            state = timm.create_model(name, pretrained=True).state_dict()
        _refuse_altered_blobs(name)
        return state


def refuse_altered(path: Path) -> None:
    """Compare a file of torch.hub's cache with the SHA-256 that is pinned here, or with the digits in its name.

    Raises:
        WeightsError: it is another file.
    """
    digits = _IN_NAME.search(path.name)
    expected = PINNED.get(path.name) or (digits.group(1) if digits else "")
    digest = sha256_of(path)
    if not digest.startswith(expected):
        raise WeightsError(
            f"{path}: expected a SHA-256 that starts with {expected[:16]}, got {digest[:16]}; the file was altered "
            "or is not whole: remove it, and it is fetched again"
        )


@contextlib.contextmanager
def _as_weights_error(name: str) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # urllib, httpx, huggingface_hub: many types, one meaning
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise WeightsError(
            f"weights of {name} could not be fetched from the hub ({type(error).__name__}: "
            f"{first_line[:120]}); go online once, or name a file in `weights`, or use `scratch`"
        ) from None


def _checked_file(url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        digits = _IN_NAME.search(path.name)
        torch.hub.download_url_to_file(url, str(path), digits and digits.group(1), progress=False)  # then renamed
    refuse_altered(path)
    return path


@contextlib.contextmanager
def _without_pickle() -> Iterator[None]:
    """PyTorch then loads tensors alone, whatever the caller or the environment asks."""
    before = {variable: os.environ.get(variable) for variable in (_FORCE, _FORBID)}
    os.environ.pop(_FORBID, None)  # PyTorch refuses both at once
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value


def _refuse_altered_blobs(name: str) -> None:
    """Hugging Face's hub names a large file by its SHA-256, and so does its cache: that is compared here.

    Raises:
        WeightsError: the cached file has another hash.
    """
    import huggingface_hub

    source = timm.models.get_pretrained_cfg(name)
    repository, _, revision = ((source and source.hf_hub_id) or "").partition("@")
    names = {"model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors"}
    if source and source.hf_hub_filename is not None:
        names.add(source.hf_hub_filename)
    for file in sorted(names) if repository else ():
        cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        blob = Path(cached).resolve() if isinstance(cached, str) else None
        if blob and re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256_of(blob) != blob.name:
            raise WeightsError(
                f"{cached} does not have the SHA-256 that the hub gave; remove {blob} and fetch it again"
            )
