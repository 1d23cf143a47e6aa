"""What comes from outside: weights from a hub are tensors with the hash that it gave, packages have versions."""

import hashlib
from importlib import metadata

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants

from edgedistill.environment.packages import audit_lines, dependencies
from edgedistill.errors import WeightsError
from edgedistill.models.weights import model_from_weights

MODEL = "mobilenetv3_small_050"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`hub(file name, bytes, sha256)`: a cache as huggingface_hub lays it out, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def lay_out(name, content, sha256):
        repository = timm.models.get_pretrained_cfg(MODEL).hf_hub_id
        folder = tmp_path / ("models--" + repository.replace("/", "--"))
        for part in ("blobs", "refs", "snapshots/abc"):
            (folder / part).mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "blobs" / sha256).write_bytes(content)
        (folder / "snapshots" / "abc" / name).symlink_to(f"../../blobs/{sha256}")

    return lay_out


def fetch():
    return model_from_weights(MODEL, "hub", ["a", "b"], will_train=True)


def tensors():
    torch.manual_seed(1)
    return safetensors.torch.save(timm.create_model(MODEL, num_classes=1000).state_dict())


@pytest.mark.parametrize("altered", [False, True])
def test_a_download_has_the_hash_that_the_hub_gave(hub, altered):
    content = tensors()
    sha256 = hashlib.sha256(content).hexdigest()
    if altered:  # one bit of one weight: a whole file, another network
        content = content[:-1] + bytes([content[-1] ^ 1])
    hub("model.safetensors", content, sha256)
    if altered:
        with pytest.raises(WeightsError, match="does not have the SHA-256 that the hub gave; remove"):
            fetch()
    else:
        key = "conv_stem.weight"
        assert torch.equal(fetch().state_dict()[key], safetensors.torch.load(content)[key])


def test_pickled_code_from_a_hub_is_not_run(hub, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"x": Evil()}, tmp_path / "w.bin")
    content = (tmp_path / "w.bin").read_bytes()
    hub("pytorch_model.bin", content, hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsError, match="could not be fetched from the hub"):
        fetch()
    assert not (tmp_path / "owned").exists()


def test_dependencies_are_what_pip_says_of_them_and_of_theirs():
    found = dependencies()
    assert found["packages"]["torch"] == metadata.version("torch")
    assert {"sympy", "filelock", "pillow"} <= set(found["packages"]), "of torch, of timm"
    assert "pytest" not in found["packages"], "an extra of ours that only tests need"
    assert list(found["packages"]) == sorted(found["packages"])
    assert f"numpy=={metadata.version('numpy')}\n" in audit_lines(found)
