"""Bytes that nobody would send, into everything that reads bytes: only our own one-line refusals come out."""

import contextlib
import itertools
import json
import os
import shutil
import string
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import EdgeDistillError
from edgedistill_calibration.cache import amax_from_text, text_from_amax
from edgedistill_device.engine import trtexec
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import manifest_from_bytes
from fuzz_board_system import every_telemetry_parser
from fuzz_bundle_files import sample_manifest
from fuzz_regressions import found_once
from fuzz_targets import TARGETS
from monitored_target import Target, finding_of
from suite_length import SEED, chance, rounds

pytestmark = pytest.mark.slow

MANIFEST = {**sample_manifest(), "memory_budget_mib": 500.0, "task": "classification"}  # which it may lack


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(7200)
def test_corrupted_bytes(name, tmp_path, tried):
    make, times = TARGETS[name]
    target, draw, found = make(tmp_path), chance(f"fuzz {name}"), {}
    if name not in ("safetensors", "torch file"):  # of no network that there is
        target.call(target.corpus[0])  # its own kind passes, and what is imported late is there
    done = lost = 0
    corruptions = (target.corruptions(draw, target.corpus) for _ in range(rounds(*times)))
    for content in itertools.chain(found_once(name, target.corpus), corruptions):
        finding = finding_of(target, content)
        done += 1
        if finding is not None:
            lost += 1
            found.setdefault(finding[0], (finding[1], content[:2000]))
    tried("fuzz", name, done, lost)
    assert not found, "\n".join(f"{kind}: {words}: {content!r}" for kind, (words, content) in found.items())


def swallowed(inside):
    with contextlib.suppress(Exception):
        (inside.parent / "x").write_bytes(b"")


MISDEEDS = {
    "write": lambda inside: (inside.parent / "x").write_bytes(b""),
    "write through a link": lambda inside: (inside / "up" / "x").write_bytes(b""),
    "write by the system's call": lambda inside: os.open(inside.parent / "x", os.O_WRONLY | os.O_CREAT),
    "rename": lambda inside: os.replace(inside / "a", inside.parent / "x"),
    "link": lambda inside: (inside.parent / "x").symlink_to("a"),
    "folder": lambda inside: os.makedirs(inside.parent / "x" / "y"),
    "removal": lambda inside: shutil.rmtree(inside.parent / "kept"),
    "program": lambda inside: subprocess.run(["touch", str(inside.parent / "x")], check=True),
    "swallowed": swallowed,
    "hang": lambda _: time.sleep(20),
    "changed bundle": lambda _: pytest.fail("taken"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_the_monitor_sees_and_stops(misdeed, tmp_path, monkeypatch):
    monkeypatch.setattr("monitored_target.HANG_S", 1)
    inside = tmp_path / "inside"
    for folder in (inside, tmp_path / "kept" / "below"):
        folder.mkdir(parents=True)
    (inside / "a").write_bytes(b"")
    (inside / "up").symlink_to("..")
    target = Target([b""], lambda _: MISDEEDS[misdeed](inside), (), inside)
    assert finding_of(target, b"") is not None
    assert {path.name for path in tmp_path.rglob("*")} == {"inside", "kept", "below", "a", "up"}
    assert finding_of(target._replace(call=lambda _: (inside / "b").write_bytes(b"")), b"") is None


def attempt(call, kind):
    """(what it gives, None) or (None, the words of its refusal)."""
    try:
        return call(), None
    except kind as error:
        return None, str(error)


EXAMPLES = rounds(100, 2000, 20_000)
PROPERTY = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["fp16", "hub", "~x", "\0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def held(tried, name, strategy, check):
    """`check` on that many values of `strategy`; counted as they are tried."""
    times = []

    @PROPERTY
    @seed(SEED)
    @given(strategy)
    def holds(value):
        times.append(1)
        check(value)

    holds()
    tried("fuzz", f"{name} (hypothesis)", len(times))


def test_a_manifest_of_other_values_is_refused_or_is_one(tried):
    def check(changes):
        content = json.dumps({**MANIFEST, **changes}).encode()
        found, refusal = attempt(lambda: manifest_from_bytes(content), ManifestError)
        if refusal is not None:
            assert len(refusal.split("\n")) == 1
        else:
            assert set(found._fields) == {*MANIFEST, "values"}
            assert all(isinstance(name, str) for name in found.classes)

    keys = st.sampled_from(sorted(MANIFEST)) | st.text(max_size=9)
    held(tried, "manifest values", st.dictionaries(keys, VALUES, max_size=4), check)


def test_a_recipe_of_other_values_is_refused_or_is_one(tried):
    def check(changes):
        table = {"data": {"train": "x"}}
        for (section, key), value in changes.items():
            table.setdefault(section, {})[key] = value
        recipe, refusal = attempt(lambda: recipe_from_table(table, "r.toml"), EdgeDistillError)
        if refusal is not None:
            assert all(line.startswith("r.toml: ") for line in refusal.split("\n"))
        else:
            stored = json.loads(json.dumps(recipe.model_dump(mode="json")))
            assert recipe_from_table(stored, "again") == recipe

    whole = recipe_from_table({"data": {"train": "x"}}, "x").model_dump(mode="json")
    keys = st.sampled_from([(section, key) for section, found in whole.items() for key in found])
    held(tried, "recipe values", st.dictionaries(keys, VALUES, max_size=4), check)


def test_no_text_hurts_a_telemetry_parser(tried):
    def check(text):
        every_telemetry_parser(text.encode())
        trtexec.summary_from_text("[I] Throughput: " + text)

    held(tried, "telemetry text", st.text(alphabet=string.printable + "\u0663\x85\u2028"), check)


def test_a_calibration_cache_gives_back_what_was_written(tried):
    def check(amax):
        _, found = amax_from_text(text_from_amax(amax, "8.2.1"))
        assert set(found) == set(amax)
        assert all(found[name] == pytest.approx(value, rel=1e-6) for name, value in amax.items())

    names = st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")))
    scales = st.floats(0, 2.0**100, width=32)
    held(tried, "calibration cache round trip", st.dictionaries(names, scales), check)
