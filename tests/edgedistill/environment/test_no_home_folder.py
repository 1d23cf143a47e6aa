"""A workstation's user without a home folder: one line, and no folder `~`."""

import pytest

from edgedistill.bundles import keys
from edgedistill.errors import SigningError
from edgedistill.prediction import user_measurements
from edgedistill_device.board import home

pytestmark = pytest.mark.slow


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    def without_entry(uid):
        raise KeyError(uid)

    monkeypatch.setattr(home.pwd, "getpwuid", without_entry)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize("value", [None, "", "/", "relative", "~"])
def test_no_home_folder(homeless, tmp_path, value):
    if value is not None:
        homeless.setenv("HOME", value)
    homeless.setenv("XDG_CONFIG_HOME", "relative")
    with pytest.raises(SigningError, match="no home folder to keep keys in; set XDG_CONFIG_HOME"):
        keys.keys_folder()
    assert user_measurements.store() is None
    assert user_measurements._entries() == []
    homeless.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_measurements.store() == tmp_path / "edgedistill" / "measurements.json"
    assert not list(tmp_path.iterdir())
