"""Whether a network's pretrained weights are at hand or can be fetched, asked before hours of training.

Weights in the cache need no network. For all others one request is made, with a time limit that no
library retries: what a hub out of reach costs is WAIT_SECONDS, and one line.
"""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import timm
import torch

from edgedistill.errors import WeightsError
from edgedistill.models.families import TORCHVISION

WAIT_SECONDS = 8.0  # for all answers together
_FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository on the hub, in timm's order


def is_cached(name: str) -> bool:
    """Whether the pretrained weights of a model are on this computer; asks no network."""
    repository, revision, files, url = _place(name)
    if repository:
        import huggingface_hub

        cached = (huggingface_hub.try_to_load_from_cache(repository, file, revision=revision) for file in files)
        return any(isinstance(path, str) for path in cached)
    return url is not None and (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).is_file()


def why_out_of_reach(names: Iterable[str]) -> dict[str, str]:
    """Model -> why its weights cannot be had; those in the cache or in reach are left out.

    Takes WAIT_SECONDS at most, whatever the network does.
    """
    asked = [name for name in dict.fromkeys(names) if not is_cached(name)]
    reasons: dict[str, str | None] = {}

    def ask(name: str) -> None:
        try:
            reasons[name] = _why_not(name)
        except Exception as error:  # urllib, httpx, huggingface_hub: many types, one meaning
            line = (str(error).strip().splitlines() or [""])[0][:120]
            reasons[name] = f"{type(error).__name__}{': ' if line else ''}{line}"

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in asked]
    deadline = time.monotonic() + WAIT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = {name: reasons.get(name, f"no answer within {WAIT_SECONDS:g} s") for name in asked}
    return {name: why for name, why in answers.items() if why is not None}


@contextlib.contextmanager
def from_cache_or_in_reach(name: str) -> Iterator[None]:
    """While weights are loaded: no network where they are cached, and no waiting where there is none.

    Raises:
        WeightsError: not cached and out of reach.
    """
    from huggingface_hub import constants

    before, cached = constants.HF_HUB_OFFLINE, is_cached(name)
    if not cached:
        why = why_out_of_reach([name]).get(name)
        if why is not None:
            raise WeightsError(
                f"weights of {name} could not be fetched from the hub ({why}); go online once, "
                "or name a file in `weights`, or use `scratch`"
            )
    constants.HF_HUB_OFFLINE = before or cached
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _place(name: str) -> tuple[str | None, str | None, tuple[str, ...], str | None]:
    """Repository, revision and files on the hub, or the address of a file."""
    if name in TORCHVISION:
        from torchvision.models import get_model_weights

        return None, None, (), get_model_weights(name).DEFAULT.url
    config = timm.models.get_pretrained_cfg(name)
    repository, _, revision = (config.hf_hub_id or "").partition("@") if config else ("", "", "")
    files: tuple[str, ...] = (config.hf_hub_filename,) if config and config.hf_hub_filename else _FILES
    url = config.url if config and isinstance(config.url, str) else None
    return repository or None, revision or None, files, url or None


def _why_not(name: str) -> str | None:
    """None when the hub has the weights and answers."""
    repository, revision, files, url = _place(name)
    if repository is None:
        if url is None:
            return "there are none"
        head = urllib.request.Request(url, method="HEAD")  # noqa: S310 - an address in timm or torchvision
        with urllib.request.urlopen(head, timeout=WAIT_SECONDS / 2):  # noqa: S310 - the same
            return None
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    for file in files:
        address = huggingface_hub.hf_hub_url(repository, file, revision=revision)
        with contextlib.suppress(EntryNotFoundError):
            huggingface_hub.get_hf_file_metadata(address, timeout=WAIT_SECONDS / 2)
            return None
    return f"{repository} has none of {', '.join(files)}"
