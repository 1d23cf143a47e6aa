"""What the board's system and sensors say, and the images that it is shown."""

import json

import cv2
import numpy as np

from corruptions import after_head, mutated, mutated_json
from edgedistill_device import doctor
from edgedistill_device.board import power, sysfs, telemetry
from edgedistill_device.decode import decode_image, to_eight_bits
from edgedistill_device.engine import precision, trtexec
from edgedistill_device.errors import ImageError
from end_to_end import ROOT
from monitored_target import Target


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
    said = (
        b"[I] Throughput: 100.5 qps\n[I] Latency: min = 1.1 ms, max = 2 ms, mean = 1.5 ms, median = 1.4 ms, "
        b"percentile(99%) = 1.9 ms\n[I] GPU Compute Time: min = 1 ms, max = 2e0 ms\n"
    )
    return Target([said], lambda c: trtexec.summary_from_text(text_of(c)), (), folder)


def engine_layers(folder):
    """The engine inspector's JSON."""
    layers = {
        "Layers": [
            {"Name": "conv", "Weights": {"Type": "Half", "Count": 8}, "Outputs": []},
            {"Name": "x", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
        ]
    }
    return Target([json.dumps(layers).encode()], lambda c: precision.layer_counts(text_of(c)), (), folder, mutated_json)


SYSFS = {
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": b"2500",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": b"POM_5V_IN",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_voltage0_input": b"5000",
    "sys/class/hwmon/hwmon1/name": b"ina3221",
    "sys/class/hwmon/hwmon1/curr1_input": b"400",
    "sys/class/hwmon/hwmon1/in1_label": b"VDD_IN",
    "sys/class/hwmon/hwmon1/in1_input": b"19000",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": b"0",
    "sys/class/thermal/thermal_zone0/type": b"CPU-therm",
    "sys/class/thermal/thermal_zone0/temp": b"31500",
    "sys/class/thermal/cooling_device0/type": b"gpu-balanced",
    "sys/class/thermal/cooling_device0/cur_state": b"1",
    "sys/class/devfreq/57000000.gpu/min_freq": b"76800000",
    "sys/class/devfreq/57000000.gpu/max_freq": b"921600000",
    "sys/class/devfreq/57000000.gpu/cur_freq": b"921600000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": b"1479000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": b"1479000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": b"1479000",
    "etc/nvpmodel.conf": b"< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n",
    "var/lib/nvpmodel/status": b"pmode:0001 fmode:quiet",
}


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


def behind_the_image(folder):
    """What follows a whole JPEG or PNG, or the video behind a photo, changes no pixel; what follows one
    that was cut does not make it whole. The first byte says which picture, and where it was cut."""
    picture = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    flags = ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    kinds = [cv2.imencode(".jpg", picture, words)[1].tobytes() for words in flags]
    kinds.append(cv2.imencode(".png", picture)[1].tobytes())
    whole = [decode_image(kind, "whole") for kind in kinds]

    def call(content):
        first, tail = (content[0] if content else 0), content[1:]
        number, kind = first % 4, kinds[first % 4]
        assert np.array_equal(decode_image(kind + tail, "x"), whole[number])
        cut = len(kind) - 1 - (first // 4) * 8
        try:
            found = decode_image(kind[:cut] + tail, "x")
        except ImageError:
            return
        # Bytes that repair the cut by chance: the picture is then the whole one but for its last blocks.
        assert found.shape == whole[number].shape

    tails = [b"", b"\xff\xd9", b"\xff\xd8\xff\xda\0\x08", b"\0\0\0\x18ftypmp42", kinds[0], kinds[3]]
    return Target([bytes([n]) + tail for n, tail in enumerate(tails)], call, (), folder, after_head(mutated, 1))


def sixteen_bits(folder):
    """The input is the range, a manifest's own text, and the values."""

    def call(content):
        low, high = int.from_bytes(content[:2], "big"), int.from_bytes(content[2:4], "big")
        values = np.frombuffer(content[4 : 4 + len(content[4:]) // 2 * 2], np.uint16)
        if low < high:
            found = to_eight_bits(values, (low, high)).astype(int)
            exact = (np.clip(values.astype(int), low, high) - low) * 255 / (high - low)
            assert (np.floor(exact + 1e-9) == found).all()

    return Target([b"\0\0\x0f\xff" + bytes(range(256)), b"\0\0\xff\xff\0\1"], call, (), folder)


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
