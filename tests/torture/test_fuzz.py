"""Bytes that nobody would send, into everything that reads bytes: only our own one-line refusals come out."""

import io
import json
import signal
import string
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bundles import BIAS, SPEC, WEIGHT, sign
from calibration.cache import amax_from_text, text_from_amax
from edgedistill.config import load_recipe, recipe_from_table
from edgedistill.data.shards import read_bytes
from edgedistill.data.sources import list_items, list_pool
from edgedistill.errors import DataError, EdgeDistillError, PreflightError, WeightsError
from edgedistill.models.weights import about_of, load_weights, model_from_weights, save_weights
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.sections import DataConfig
from edgedistill.target import load_target
from jetson import telemetry, trtexec
from jetson.benchreport import KEYS, report_from_line
from jetson.errors import BenchError, ImageError, ManifestError
from jetson.manifest import manifest_from_bytes
from jetson.preprocess import decode_image
from knobs import SEED, chance, rounds
from road import ROOT
from small import small_recipe
from tiny_onnx import model_bytes

HANG_S = 10


def sample_manifest():
    """As `write_manifest` writes it, of a folder with one file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(b"x")
        sign(folder)
        return json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))


MANIFEST = sample_manifest()
INTERESTING = [b"\0", b"\xff", b"\n", b"\r", b'"', b"'", b",", b"[", b"{", b"}", b"nan", b"inf", b"-1", b"1e999",
               b"9" * 30, b"9" * 5000, b"..", b"/", b"\\", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"%s", b"{}", b"true",
               b"null", b"[" * 3000, b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"]  # fmt: skip


class Hang(Exception):
    pass


def mutated(draw, corpus):
    """One of the corpus with one to eight wounds."""
    content = bytearray(draw.choice(corpus))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(content) + 1)
        deed = draw.randrange(6)
        if deed == 0 and content:
            content[at % len(content)] ^= 1 << draw.randrange(8)
        elif deed == 1:
            content[at:at] = draw.choice(INTERESTING)
        elif deed == 2:
            del content[at : at + draw.choice((1, 4, 64))]
        elif deed == 3:
            content[at:at] = content[at : at + draw.choice((4, 64, 512))]
        elif deed == 4 and draw.random() < 0.3:
            del content[at:]
        elif content:
            content[at % len(content)] = draw.randrange(256)
    return bytes(content)


def attacked(name, corpus, target, allowed, times):
    """Run `target` on mutations; how many, and those that ended in something else than `allowed`."""
    draw, done, lost = chance(f"fuzz {name}"), 0, []

    def alarm(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        for _ in range(times):
            content = mutated(draw, corpus)
            signal.alarm(HANG_S)
            try:
                target(content)
            except allowed as error:
                if len(str(error).split("\n")) > 1 and not isinstance(error, EdgeDistillError):
                    lost.append((content[:2000], "more than a line", str(error)))
            except (Exception, Hang) as error:
                lost.append((content[:2000], type(error).__name__, str(error)[:300]))
            finally:
                signal.alarm(0)
                done += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return done, lost


def text_of(content):
    return content.decode("utf-8", "replace")


def sample_texts():
    folder = ROOT / "tests" / "jetson" / "samples"
    return [path.read_bytes()[:6000] for path in sorted(folder.iterdir()) if path.is_file()]


def every_telemetry_parser(content):
    text = text_of(content)
    telemetry.kibibytes_from_text(text)
    telemetry.cpu_model_from_text(text)
    telemetry.l4t_release_from_text(text)
    telemetry.power_mode_from_text(text)
    telemetry.clocks_from_text(text)
    for line in text.splitlines():
        telemetry.tegrastats_from_line(line)


def onnx_bytes():
    return [model_bytes(WEIGHT, BIAS, SPEC.image_px)]


def tar_bytes():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, body in (("a.png", b"x" * 90), ("a.cls", b"1"), ("b.jpg", b"y" * 9), ("b.json", b'{"label": "z"}')):
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return content.getvalue()


def image_bytes():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    kinds = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".jp2", ".ppm", ".gif", ".avif")
    return [cv2.imencode(kind, image)[1].tobytes() for kind in kinds]


def parquet_bytes():
    pyarrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    content = io.BytesIO()
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "label": ["x", "y"]}), content)
    return content.getvalue()


CSV = b'path,label,group\na.png,x,1\n"b, c.png",y,2\nd.png,x,\n'
DATA = DataConfig(train="x", group_column="group")
TRTEXEC = (b"[I] Throughput: 100.5 qps\n[I] Latency: min = 1.1 ms, max = 2 ms, mean = 1.5 ms, median = 1.4 ms, "
           b"percentile(99%) = 1.9 ms\n[I] GPU Compute Time: min = 1 ms, max = 2e0 ms\n")  # fmt: skip


def through_a_file(path, read):
    def target(content):
        path.write_bytes(content)
        read(path)

    return target


def listed(path):
    for item in [*list_items(path, DATA if path.suffix == ".csv" else DataConfig(train="x"))]:
        if path.suffix == ".tar":
            read_bytes(item.path)
    list_pool(path, DATA)


def weights(path):
    about_of(path)
    try:
        load_weights(path)
    except WeightsError:
        model_from_weights("mobilenetv3_small_050", str(path), ["a", "b"], will_train=True)


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(2, 2)


def targets(folder):
    """name -> (corpus, target, allowed, times in the three modes)."""
    save_weights(Tiny(), folder / "seed.safetensors", {"model": "mobilenetv3_small_050", "classes": ["a", "b"],
                                                       "preprocess": {}})  # fmt: skip
    torch.save({"state_dict": {"x": torch.zeros(2)}}, folder / "seed.pth")
    nano = load_target("jetson-nano")
    manifest = json.dumps(MANIFEST).encode()
    report = json.dumps({**dict.fromkeys(KEYS), "version": 2, "state": "locked"}).encode()
    cache = text_from_amax({"a": 1.0, "b: c": 0.5, "": 3.0}, "8.2.1").encode()
    return {
        "telemetry": ([*sample_texts(), b""], every_telemetry_parser, (), (300, 6000, 40_000)),
        "trtexec": ([TRTEXEC], lambda c: trtexec.summary_from_text(text_of(c)), (), (300, 3000, 20_000)),
        "calibration cache": ([cache], lambda c: amax_from_text(text_of(c)), ValueError, (300, 5000, 30_000)),
        "manifest": ([manifest], manifest_from_bytes, ManifestError, (300, 5000, 30_000)),
        "benchmark report": ([report], lambda c: report_from_line(text_of(c)), BenchError, (300, 5000, 30_000)),
        "recipe": ([small_recipe().encode(), b'[data]\ntrain = "~x/\\u0000"\n[distill]\nseed = -1\n'],
                   through_a_file(folder / "r.toml", load_recipe), EdgeDistillError, (100, 2000, 10_000)),
        "csv": ([CSV], through_a_file(folder / "t.csv", listed), DataError, (150, 3000, 15_000)),
        "parquet": ([parquet_bytes()], through_a_file(folder / "t.parquet", listed), DataError, (60, 1000, 6000)),
        "shard": ([tar_bytes()], through_a_file(folder / "t.tar", listed), (DataError, OSError), (100, 2000, 10_000)),
        "image": (image_bytes(), lambda c: decode_image(c, "x"), ImageError, (150, 3000, 20_000)),
        "onnx": (onnx_bytes(), through_a_file(folder / "m.onnx", lambda p: check_onnx(p, nano)),
                 PreflightError, (60, 1000, 5000)),
        "safetensors": ([(folder / "seed.safetensors").read_bytes()],
                        through_a_file(folder / "w.safetensors", weights), EdgeDistillError, (20, 300, 3000)),
        "torch file": ([(folder / "seed.pth").read_bytes()], through_a_file(folder / "w.pth", weights),
                       EdgeDistillError, (10, 200, 1000)),
    }  # fmt: skip


NAMES = ("telemetry", "trtexec", "calibration cache", "manifest", "benchmark report", "recipe", "csv", "parquet",
         "shard", "image", "onnx", "safetensors", "torch file")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(3600)
def test_wounded_bytes(name, tmp_path, tried):
    corpus, target, allowed, times = targets(tmp_path)[name]
    done, lost = attacked(name, corpus, target, allowed, rounds(*times))
    tried("fuzz", name, done, len(lost))
    kinds = {(kind, said[:100]): content for content, kind, said in lost}
    assert not lost, "\n".join(f"{key}: {content!r}" for key, content in list(kinds.items())[:8])


def attempt(call, kind):
    """(what it gives, None) or (None, the words of its refusal)."""
    try:
        return call(), None
    except kind as error:
        return None, str(error)


EXAMPLES = rounds(100, 2000, 20_000)
PROPERTY = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                    suppress_health_check=list(HealthCheck))  # fmt: skip
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
            assert set(found._fields) == set(MANIFEST)
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
