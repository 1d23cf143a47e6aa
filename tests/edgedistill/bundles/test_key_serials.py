"""Serials rise with each bundle that a key signs, whatever the clock does; there is a way back from a wrong one."""

import json
import os
import shutil
import threading
import time

import pytest

from edgedistill.bundles import serials
from edgedistill.bundles.keys import load_key, new_key
from edgedistill.bundles.serials import numbered, record_of
from edgedistill.bundles.signing import sign_bundle
from edgedistill.bundles.unsigned import write_throwaway
from edgedistill.cli.main import main
from edgedistill.errors import BundleError
from edgedistill_device.manifest import NAME, id_of, manifest_from_bytes, write_manifest
from edgedistill_device.releases.incoming import accept
from edgedistill_device.releases.store import status
from tiny_onnx import model_bytes

NOW, IN_2040 = 1_764_000_000, 2_208_988_800


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` is the time."""

    class Clock:
        now = NOW

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(serials, "time", clock)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return clock


@pytest.fixture
def key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return new_key("release")


@pytest.fixture
def bundle(tmp_path, key, clock):
    """`bundle(run, text)`: the serial of the run's bundle with that content, signed; it replaces the one before."""
    model = tmp_path / "net.onnx"
    model.write_bytes(model_bytes([[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2], 32))

    def made(run, text, key=key):
        folder = tmp_path / run
        out = folder / "partial"
        if not (folder / "first").exists():
            write_throwaway(model, folder / "first", "fp16")
        (folder / "first").rename(out)
        (out / "MODEL_CARD.md").write_text(text)
        manifest = manifest_from_bytes((out / NAME).read_bytes())

        def write(serial):
            write_manifest(str(out), manifest._replace(serial=serial))
            return (out / NAME).read_bytes()

        try:
            serial = numbered(write, folder / "bundle", key)
            if key is not None:
                sign_bundle(out, key.name)
            before = folder / "bundle"
            before.mkdir(exist_ok=True)
            for path in out.glob("manifest.json*"):
                (before / path.name).write_bytes(path.read_bytes())
        finally:
            (out / "manifest.json.sig").unlink(missing_ok=True)
            out.rename(folder / "first")
        made.id = id_of((before / NAME).read_bytes())
        return serial

    return made


def test_equal_content_keeps_its_serial_and_another_gets_the_time(bundle, clock):
    assert bundle("r", "one") == NOW
    clock.now += 100
    assert bundle("r", "one") == NOW
    assert bundle("r", "two") == NOW + 100


def test_two_bundles_of_one_second_never_have_one_serial(bundle, clock):
    """Two runs that one key signs: a board takes one of them, and which is the newer nobody could say."""
    ids = {bundle("r", "one"): bundle.id}
    for run, text in (("s", "two"), ("r", "three"), ("s", "four")):
        ids[bundle(run, text)] = bundle.id
    assert sorted(ids) == [NOW, NOW + 1, NOW + 2, NOW + 3]
    clock.now -= 30  # set back by the network's time
    assert bundle("t", "five") == NOW + 4


def test_a_clock_that_was_once_in_2040_is_noticed_and_there_is_a_way_back(bundle, clock, key, capsys):
    clock.now = IN_2040
    assert bundle("r", "one") == IN_2040
    clock.now = NOW
    for run in ("r", "s"):
        with pytest.raises(BundleError, match="boards take no serial that does not rise") as refused:
            bundle(run, "two")
        assert "signed serial 2208988800 (2040-01-01 00:00 UTC), the clock says 2025-11-24" in str(refused.value)
        assert "`edgedistill keys reset release` and once `deploy --allow-downgrade`" in str(refused.value)
    assert bundle("r", "one") == IN_2040, "what did not change is the bundle that it was"
    assert main(["keys", "reset", "release"]) == 0
    assert key.key_id in capsys.readouterr().out
    assert bundle("r", "one") == NOW, "not the one of the wrong clock again"
    clock.now += 5
    assert bundle("s", "two") == NOW + 5
    clock.now -= 3600
    with pytest.raises(BundleError, match="boards take no serial that does not rise"):
        bundle("s", "three")


def test_a_run_of_before_the_record_has_its_say(bundle, clock, key):
    clock.now = IN_2040
    bundle("r", "one")
    record_of(key).unlink()
    clock.now = NOW
    with pytest.raises(BundleError, match="signed serial 2208988800"):
        bundle("r", "two")


@pytest.mark.parametrize("epoch", [NOW, NOW - 1000])
def test_a_given_time_that_does_not_rise_is_refused(bundle, clock, monkeypatch, epoch):
    bundle("r", "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(epoch))
    with pytest.raises(BundleError, match="SOURCE_DATE_EPOCH is 2025"):
        bundle("r", "two")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 1))
    assert bundle("r", "two") == NOW + 1


def test_a_bundle_that_was_signed_is_made_again_bit_for_bit(bundle, clock, monkeypatch):
    """Reproducible builds: elsewhere, later, after newer ones."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW))
    assert bundle("r", "one") == NOW
    first = bundle.id
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW + 50))
    bundle("r", "two")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NOW))
    assert bundle("elsewhere", "one") == NOW
    assert bundle.id == first


def test_each_key_counts_for_itself_and_what_is_not_signed_does_not(bundle, clock, key):
    other = new_key("other")
    clock.now = IN_2040
    bundle("r", "one")
    clock.now = NOW
    assert bundle("s", "two", other) == NOW
    assert bundle("t", "three", None) == NOW
    assert bundle("t", "four", None) == NOW
    assert set(json.loads(record_of(other).read_text())["signed"]) == {str(NOW)}
    assert load_key("release") == key, "the record beside it is no key"


def test_a_bundle_of_a_wrong_clock_that_was_not_signed_gets_another_serial_with_its_signature(bundle, clock, key):
    clock.now = IN_2040
    bundle("r", "one", None)
    clock.now = NOW
    assert bundle("r", "one") == NOW


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"signed": 3}', '{"signed": {"x": "y"}}', "\xff"])
def test_a_damaged_record_is_no_empty_one(bundle, key, content):
    record_of(key).write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError, match=r"release\.serials is damaged.*edgedistill keys reset release"):
        bundle("r", "one")
    assert main(["keys", "reset", "release"]) == 0
    assert bundle("r", "one") == NOW


def test_a_key_in_a_read_only_folder_signs_and_remembers_nothing(bundle, clock, key, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, *more: path != key.public.parent and real(path, *more))
    assert bundle("r", "one") == NOW
    assert not record_of(key).exists()
    assert bundle("r", "two") == NOW + 1, "the run's own bundle tells it"


def test_at_once_they_still_differ(tmp_path, clock, key):
    """Each writes its own manifest; the lock is the key's."""
    found = []

    def one(number):
        found.append(numbered(lambda serial: json.dumps([number, serial]).encode(), tmp_path / "none", key))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(NOW, NOW + 12))


def test_a_clock_that_goes_back_between_signing_and_deploying(bundle, clock, tmp_path, key, monkeypatch):
    """The workstation's and the board's: a board goes by serials, and the next signature by the record."""
    monkeypatch.setattr(time, "time", clock.time)
    root = tmp_path / "root"
    (root / "trusted.d").mkdir(parents=True)
    shutil.copy(key.public, root / "trusted.d")
    (root / "board.json").write_text(json.dumps({"version": 1, "target": "any", "backend": "onnxruntime"}))

    def taken(run):
        shutil.copytree(tmp_path / run / "first", root / "incoming" / bundle.id)
        shutil.copytree(tmp_path / run / "bundle", root / "incoming" / bundle.id, dirs_exist_ok=True)
        accept(str(root), bundle.id)
        return manifest_from_bytes((root / "releases" / bundle.id / NAME).read_bytes()).serial

    bundle("r", "one")
    clock.now = NOW - 30 * 86400
    assert taken("r") == NOW
    with pytest.raises(BundleError, match="the clock says 2025-10-25 .* boards take no serial that does not rise"):
        bundle("s", "two")
    assert [row["serial"] for row in status(str(root))["releases"]] == [NOW]
    clock.now = NOW + 7  # the network's time has come
    bundle("s", "two")
    clock.now = 20  # a board without a battery
    assert taken("s") == NOW + 7
    assert status(str(root))["highest_serial"] == {key.key_id: NOW + 7}
