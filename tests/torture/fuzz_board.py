"""What a board reads: a bundle's archive, keys, signatures, its own small files, its sensors, images."""

import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

import archives
from bundles import sign
from calibration.cache import amax_from_text, text_from_amax
from edgedistill.device.archive import unpack_archive
from edgedistill.errors import BundleError
from jetson import (
    doctor,
    engine_file,
    power,
    precision,
    releases,
    root,
    signature,
    switch,
    sysfs,
    telemetry,
    trtexec,
    unpack,
)
from jetson.benchreport import KEYS, report_from_line
from jetson.errors import BenchError, ImageError, JetsonError, ManifestError, SignatureError
from jetson.manifest import NAME, SIGNATURE, manifest_from_bytes
from jetson.preprocess import decode_image
from road import ROOT
from watch import Target
from wounds import after_head, mutated, mutated_json


def sample_manifest():
    """As `write_manifest` writes it, of a folder with one file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(b"x")
        sign(folder)
        return json.loads(Path(folder, NAME).read_text(encoding="utf-8"))


def text_of(content):
    return content.decode("utf-8", "replace")


def every_telemetry_parser(content):
    text = text_of(content)
    telemetry.kibibytes_from_text(text)
    telemetry.cpu_model_from_text(text)
    telemetry.l4t_release_from_text(text)
    telemetry.power_mode_from_text(text)
    telemetry.clocks_from_text(text)
    power.fastest_mode(power.modes_from_text(text))
    power.mode_number_from_text(text)
    doctor.packages_from_text(text)
    doctor.swaps_from_text(text)
    for line in text.splitlines():
        telemetry.tegrastats_from_line(line)


def telemetry_texts(folder):
    samples = ROOT / "tests" / "jetson" / "samples"
    corpus = [path.read_bytes()[:6000] for path in sorted(samples.iterdir()) if path.is_file()]
    return Target([*corpus, b"", b"pmode:0002 fmode:quiet\n"], every_telemetry_parser, (), folder)


def trtexec_output(folder):
    said = (b"[I] Throughput: 100.5 qps\n[I] Latency: min = 1.1 ms, max = 2 ms, mean = 1.5 ms, median = 1.4 ms, "
            b"percentile(99%) = 1.9 ms\n[I] GPU Compute Time: min = 1 ms, max = 2e0 ms\n")  # fmt: skip
    return Target([said], lambda c: trtexec.summary_from_text(text_of(c)), (), folder)


def engine_layers(folder):
    """The engine inspector's JSON."""
    layers = {"Layers": [{"Name": "conv", "Weights": {"Type": "Half", "Count": 8}, "Outputs": []},
                         {"Name": "x", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]}]}  # fmt: skip
    return Target([json.dumps(layers).encode()], lambda c: precision.layer_counts(text_of(c)), (), folder, mutated_json)


def calibration_cache(folder):
    cache = text_from_amax({"a": 1.0, "b: c": 0.5, "": 3.0}, "8.2.1").encode()
    return Target([cache], lambda c: amax_from_text(text_of(c)), ValueError, folder)


def manifest(folder):
    content = json.dumps(sample_manifest()).encode()
    return Target([content], manifest_from_bytes, ManifestError, folder, mutated_json)


def benchmark_report(folder):
    report = json.dumps({**dict.fromkeys(KEYS), "version": 2, "state": "locked"}).encode()
    return Target([report], lambda c: report_from_line(text_of(c)), BenchError, folder, mutated_json)


def bundle_archive(folder):
    """Who holds a bundle of ours changes it: what is taken is what was signed, byte for byte.

    Instead of openssl, which takes 10 ms, the signature's check knows the one manifest that was signed.
    """
    bundle, _, public = archives.make_signed(folder)
    board, parts = archives.make_root(folder, public), archives.genuine(bundle)
    signed = Path(bundle, NAME).read_bytes()
    contents = {**archives.FILES, NAME: signed}
    here, file = folder / "here", folder / "x.edb.tar"
    here.mkdir()

    def key_that_signed(content, signature, root):
        if content != signed:
            raise SignatureError("the manifest was altered")

    def call(content):
        before = archives.tree(str(folder))
        try:
            with mock.patch.object(unpack, "key_that_signed", key_that_signed):
                found = unpack.unpack(io.BytesIO(content), board)
            _same_files(os.path.join(board, "incoming", found["id"]), contents)
        finally:
            shutil.rmtree(os.path.join(board, "incoming"), ignore_errors=True)
            assert archives.tree(str(folder)) == before
        file.write_bytes(content)
        try:
            _same_files(unpack_archive(file, here), contents)
        finally:
            shutil.rmtree(here / "x", ignore_errors=True)
            file.unlink()

    hostile = [kind(parts) for _, kind in sorted(archives.HOSTILE.items())]
    corpus = [archives.joined(parts)] * 20 + [raw for raw in hostile if 512 <= len(raw) < 1 << 16]
    def wounds(draw, corpus):
        content = draw.choice(corpus)
        return archives.mutated(content, draw) if len(content) >= 512 else mutated(draw, [content])

    return Target(corpus, call, (JetsonError, BundleError), folder, wounds)


def _same_files(folder, contents):
    found = {os.path.relpath(os.path.join(place, name), folder): Path(place, name).read_bytes()
             for place, _, names in os.walk(folder) for name in names}  # fmt: skip
    found.pop(SIGNATURE)
    assert found == contents, "a changed bundle was taken"


def archive_of_another_manifest(folder):
    """A key that is trusted signed something else: it may name files, and nothing but files inside.

    The input is a manifest; the archive holds what that lists, with the contents of the bundle.
    """
    bundle, _, public = archives.make_signed(folder)
    board, contents = archives.make_root(folder, public), archives.FILES
    by_digest = {hashlib.sha256(raw).hexdigest(): raw for raw in contents.values()}

    def packed(content):
        try:
            files = json.loads(content)["files"]
            rows = [(name, by_digest.get(entry["sha256"], b"")) for name, entry in sorted(files.items())]
            parts = [("", archives.member(name, raw)) for name, raw in rows]
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError):
            parts = []
        head = [("", archives.member(name, raw)) for name, raw in ((NAME, content), (SIGNATURE, b"x"))]
        return archives.joined(head + parts)

    def call(content):
        before = archives.tree(str(folder))
        try:
            with mock.patch.object(unpack, "key_that_signed"):
                found = unpack.unpack(io.BytesIO(packed(content)), board)
            listed = manifest_from_bytes(content).files
            place = os.path.join(board, "incoming", found["id"])
            for name, entry in listed.items():
                assert hashlib.sha256(Path(place, name).read_bytes()).hexdigest() == entry.sha256
            assert sum(len(names) for _, _, names in os.walk(place)) == len(listed) + 2
        finally:
            shutil.rmtree(os.path.join(board, "incoming"), ignore_errors=True)
            assert archives.tree(str(folder)) == before

    return Target([Path(bundle, NAME).read_bytes()], call, JetsonError, folder, mutated_json)


def signatures(folder):
    """By the real openssl. The first byte says what was changed: signature, manifest, key, revoked ids."""
    bundle, _, public = archives.make_signed(folder)
    board = archives.make_root(folder, public)
    pem, revoked = Path(board, "trusted.d", "ours.pem"), Path(board, "revoked")
    genuine = [Path(bundle, SIGNATURE).read_bytes(), Path(bundle, NAME).read_bytes(), pem.read_bytes(), b""]
    key_id = signature.key_id_of(str(pem))

    def call(content):
        which = content[0] % 4 if content else 0
        parts = [*genuine[:which], content[1:], *genuine[which + 1 :]]
        pem.write_bytes(parts[2])
        revoked.write_bytes(parts[3])
        assert signature.key_that_signed(parts[1], parts[0], board) == key_id
        assert parts[1] == genuine[1], "another manifest passed"
        assert key_id.encode() not in parts[3].split(), "a revoked key passed"

    corpus = [bytes([which]) + raw for which, raw in enumerate([*genuine[:3], b"0123456789abcdef\n" + key_id.encode()])]
    return Target(corpus, call, SignatureError, folder, after_head(mutated, 1), ("openssl",))


def board_files(folder):
    """ROOT's own small files. The first byte says which one is the input."""
    board = archives.make_root(folder, archives.make_signed(folder)[2])
    files = {
        "board.json": {"version": 1, "target": "local", "backend": "onnxruntime"},
        "state.json": {"version": 1, "highest_serial": {"0123456789abcdef": 3}},
        "agent/agent.json": {"version": 1, "sha256": "0" * 64},
        "revoked": "0123456789abcdef",
        "switches/0001/unproven": "0000",
    }  # fmt: skip
    names = list(files)
    genuine = {name: value.encode() if isinstance(value, str) else json.dumps(value).encode()
               for name, value in files.items()}  # fmt: skip
    for name in names:
        Path(board, name).parent.mkdir(parents=True, exist_ok=True)
    os.symlink("../../releases/" + "0" * 16, os.path.join(board, "switches", "0001", "current"))

    def call(content):
        changed = {**genuine, names[content[0] % len(names) if content else 0]: content[1:]}
        Path(board, "switches", "0001").mkdir(exist_ok=True)
        for name, raw in changed.items():
            Path(board, name).write_bytes(raw)
        live = Path(board, "live")
        live.unlink(missing_ok=True)
        live.symlink_to("switches/0001")
        json.dumps(releases.status(board))
        releases.require_target(root.read_board(board), manifest_from_bytes(sample))
        root.note_serial(board, "0123456789abcdef", 7)
        signature.trusted_keys(board)
        switch.settle(board)

    sample = json.dumps(sample_manifest()).encode()
    corpus = [bytes([number]) + genuine[name] for number, name in enumerate(names)]
    return Target(corpus, call, JetsonError, folder, after_head(mutated_json, 1), ("openssl",))


def engine_record(folder):
    """The engine's sidecar, and the record of a verify that passed: the first byte says which."""
    bundle, _, _ = archives.make_signed(folder)
    listed = manifest_from_bytes(Path(bundle, NAME).read_bytes())
    place = Path(engine_file.engine_folder(bundle))
    place.mkdir(parents=True)
    (place / "x.engine").write_bytes(b"engine")
    digest = hashlib.sha256(b"engine").hexdigest()
    record = {**dict.fromkeys(engine_file.KEYS, 1), "engine": "x.engine", "engine_sha256": digest, "onnx": "model.onnx",
              "onnx_sha256": listed.files["model.onnx"].sha256, "board": "Nano", "sm": 53,
              "tensorrt": "8.2.1"}  # fmt: skip
    genuine = [json.dumps(record).encode(), json.dumps({"engine_sha256": digest, "executed": "fp16"}).encode()]

    def call(content):
        which = content[0] % 2 if content else 0
        for number, name in enumerate((engine_file.SIDECAR, engine_file.VERIFIED["tensorrt"])):
            (place / name).write_bytes(content[1:] if number == which else genuine[number])
        found, engine = engine_file.read_engine(bundle, listed)
        assert engine == b"engine", "another engine was taken"
        engine_file.check_machine(found, board="Nano", sm=53, tensorrt="8.2.1")
        engine_file.require_verified(bundle, "tensorrt")

    corpus = [bytes([which]) + raw for which, raw in enumerate(genuine)]
    return Target(corpus, call, JetsonError, folder, after_head(mutated_json, 1))


SYSFS = {
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": b"2500",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": b"POM_5V_IN",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage0_input": b"5000",
    "sys/class/hwmon/hwmon1/name": b"ina3221", "sys/class/hwmon/hwmon1/curr1_input": b"400",
    "sys/class/hwmon/hwmon1/in1_label": b"VDD_IN", "sys/class/hwmon/hwmon1/in1_input": b"19000",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": b"0", "sys/class/thermal/thermal_zone0/type": b"CPU-therm",
    "sys/class/thermal/thermal_zone0/temp": b"31500", "sys/class/thermal/cooling_device0/type": b"gpu-balanced",
    "sys/class/thermal/cooling_device0/cur_state": b"1", "sys/class/devfreq/57000000.gpu/min_freq": b"76800000",
    "sys/class/devfreq/57000000.gpu/max_freq": b"921600000", "sys/class/devfreq/57000000.gpu/cur_freq": b"921600000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": b"1479000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": b"1479000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": b"1479000",
    "etc/nvpmodel.conf": b"< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n",
    "var/lib/nvpmodel/status": b"pmode:0001 fmode:quiet",
}  # fmt: skip


def sensors(folder):
    """The first byte says which of the files is the input."""
    names = sorted(SYSFS)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(SYSFS[name])

    def call(content):
        name, place = names[content[0] % len(names) if content else 0], str(folder)
        (folder / name).write_bytes(content[1:])
        try:
            checks = power.checks(place, "NVIDIA Jetson Nano Developer Kit")
            found = [sysfs.rails_mw(place), sysfs.zones_c(place), sysfs.clocks_mhz(place), checks]
            json.dumps(found, allow_nan=False)
        finally:
            (folder / name).write_bytes(SYSFS[name])

    corpus = [bytes([number]) + SYSFS[name] for number, name in enumerate(names)]
    return Target(corpus, call, (), folder, after_head(mutated, 1))


def image_bytes():
    image = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    kinds = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".jp2", ".ppm", ".gif", ".avif")
    return [cv2.imencode(kind, image)[1].tobytes() for kind in kinds]


def images(folder):
    return Target(image_bytes(), lambda c: decode_image(c, "x"), ImageError, folder)


def exif(folder):
    """The input stands in a JPEG's EXIF segment: the picture is one of its eight ways to lie."""
    plain = image_bytes()[1]
    image = decode_image(plain, "plain")
    flat = [turned.tobytes() for one in (image, image[:, ::-1]) for turned in (np.rot90(one, n) for n in range(4))]

    def call(content):
        segment = b"Exif\0\0" + content[:60000]
        marked = plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
        assert decode_image(marked, "x").tobytes() in flat

    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    return Target([tiff, big], call, ImageError, folder)
