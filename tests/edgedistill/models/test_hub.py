"""Weights of a hub come from a cache that others can write: no code runs from it, and an altered file is refused."""

import hashlib
import os
import shutil
import zipfile

import pytest
import timm
import torch
from torchvision.models import get_model_weights

from edgedistill.errors import WeightsError
from edgedistill.models import hub, hub_access
from edgedistill.models.build import build_model
from edgedistill.models.families import TORCHVISION
from edgedistill.models.weights import model_from_weights

BY_ADDRESS = "legacy_seresnet18.in1k"  # of timm, from an address and not from Hugging Face


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch.hub's folder of weights, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def no_network(url, *args, **kwargs):
        raise OSError(f"no network: {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(hub_access, "_why_not", no_network)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def file_of(name):
    url = get_model_weights(name).DEFAULT.url if name in TORCHVISION else timm.models.get_pretrained_cfg(name).url
    return os.path.basename(url)


class Evil:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


def poison(path, marker, form):
    """A file whose unpickling makes `marker`: a checkpoint of today, of before 2020, one within a zip."""
    torch.save({"x": Evil(marker)}, path, _use_new_zipfile_serialization=form == "new")
    if form == "zipped":
        content = path.read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.name, content)


def fetch(name):
    return model_from_weights(name, "hub", ["a", "b"], will_train=True)


@pytest.mark.parametrize("form", ["new", "old", "zipped"])
@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", BY_ADDRESS])
def test_pickled_code_in_the_cache_is_not_run(cache, tmp_path, name, form):
    poison(cache / file_of(name), tmp_path / "owned", form)
    with pytest.raises(WeightsError, match="expected a SHA-256 that starts with"):
        fetch(name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("variable", ["", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
@pytest.mark.parametrize("form", ["new", "old", "zipped"])
@pytest.mark.parametrize("name", ["shufflenet_v2_x2_0", BY_ADDRESS])
def test_not_even_where_the_digits_in_the_name_are_met(cache, tmp_path, monkeypatch, name, form, variable):
    """8 digits can be met by trying; and whoever sets PyTorch's variable does not mean this file."""
    if variable:
        monkeypatch.setenv(variable, "1")
    poison(cache / file_of(name), tmp_path / "owned", form)
    monkeypatch.setattr(hub, "refuse_altered", lambda path: None)
    with pytest.raises(WeightsError) as refused:
        fetch(name)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "owned").exists()
    assert os.environ.get(variable or "x") == ("1" if variable else None)


def test_a_file_that_meets_the_digits_of_its_name_is_not_the_pinned_one(cache, monkeypatch):
    """squeezenet1_1 is known by all 64 digits: 8 of them are not enough."""
    path = cache / file_of("squeezenet1_1")
    path.write_bytes(b"another")
    forged = hub.PINNED[path.name][:8] + hashlib.sha256(b"another").hexdigest()[8:]
    monkeypatch.setattr(hub, "sha256_of", lambda path: forged)
    with pytest.raises(WeightsError, match="altered"):
        fetch("squeezenet1_1")


def test_the_right_file_in_the_cache_is_taken(cache, monkeypatch):
    torch.manual_seed(3)
    state = build_model("squeezenet1_1", 1000).state_dict()
    path = cache / file_of("squeezenet1_1")
    torch.save(state, path)
    monkeypatch.setitem(hub.PINNED, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    key = "features.0.weight"
    assert torch.equal(fetch("squeezenet1_1").state_dict()[key], state[key])


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_what_is_downloaded_is_put_into_the_cache_and_compared(cache, monkeypatch, name, there):
    """Into the folder that an earlier download made, or a new one; by the digits of its name or its pin."""
    torch.manual_seed(3)
    state = build_model(name, 1000).state_dict()
    asked = []

    def download(url, place, digits, progress):
        asked.append((url, digits))
        torch.save(state, place)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(hub_access, "_why_not", lambda name: None)
    path = cache / file_of(name)
    if not there:
        shutil.rmtree(cache.parents[1])  # as on a new computer
    with pytest.raises(WeightsError, match="altered"):
        fetch(name)  # another file than the one of that name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(hub.PINNED, path.name, digest)
    path.unlink()
    key = next(iter(state))
    for _ in range(2):
        assert torch.equal(fetch(name).state_dict()[key], state[key])
    digits = path.stem.rpartition("-")[2]
    assert asked == [(get_model_weights(name).DEFAULT.url, digits)] * 2, "the third call finds it in the cache"


def test_pins_agree_with_the_digits_of_the_file_names_that_torchvision_uses():
    names = {file_of(name) for name in TORCHVISION}
    for file, sha256 in hub.PINNED.items():
        assert file in names
        assert len(sha256) == 64
        assert sha256.startswith(file.rpartition("-")[2].removesuffix(".pth"))


@pytest.mark.parametrize("name", ["squeezenet1_1", BY_ADDRESS])
def test_without_a_network_and_a_cache_one_line_says_so(cache, name):
    with pytest.raises(WeightsError, match=r"could not be fetched from the hub .*no network"):
        fetch(name)
