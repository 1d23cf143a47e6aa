"""Answers to the frames of a clip that do not flicker: against a rule that is written out over the whole history."""

import io
import json
import random

import cv2
import numpy as np
import pytest

from bundles import make_bundle, pretend_verified, sign
from edgedistill_device.decision_spec import Decision
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import ManifestError
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.decide import answer
from edgedistill_device.inference.progress import Progress
from edgedistill_device.inference.smoothing import Rule, Smoother, rule_of
from edgedistill_device.manifest import read_manifest

CLASSES = ("a", "b", "c")
RULES = [
    Rule("votes", 2, 0.0, 1),
    Rule("votes", 7, 0.2, 3),
    Rule("votes", 15, 0.0, 4),
    Rule("mean", 2, 0.1, 1),
    Rule("mean", 9, 0.25, 2),
]


def written_out(rule, frames):
    """(class, share, frames) after each frame; `frames`: for each {name: share}, whose shares add up to 1."""
    names, given, since, found, leaders = list(CLASSES) + ["unknown"], None, 0, [], []
    for number in range(1, len(frames) + 1):
        if rule.by == "votes":
            seen = frames[max(0, number - rule.frames) : number]
            weights = [1.0] * len(seen)
        else:
            seen = frames[:number]
            weights = [(1 - 2.0 / (rule.frames + 1)) ** age for age in range(number - 1, -1, -1)]
        shares = {
            name: sum(w * frame.get(name, 0.0) for w, frame in zip(weights, seen)) / sum(weights) for name in names
        }
        first = max(names, key=lambda name: (round(shares[name], 9), -names.index(name)))
        leads = first != given and (given is None or shares[first] >= shares[given] + rule.margin - 1e-9)
        leaders.append(first if leads else None)
        if leads and len(leaders) >= rule.hold and set(leaders[-rule.hold :]) == {first}:
            given, since, leaders = first, number, []
        found.append((given, None if given is None else shares[given], number - since + 1 if given else 0))
    return found


def random_frames(seed, length=120):
    """Logits of frames that stay with a class for a while and flicker."""
    rng, logits, kind = random.Random(seed), [], 0
    for _ in range(length):
        kind = rng.randrange(3) if rng.random() < 0.06 else kind
        seen = rng.randrange(3) if rng.random() < 0.2 else kind
        logits.append([rng.gauss(2.5 if number == seen else 0, 0.8) for number in range(3)])
    return np.array(logits, np.float32)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decision", [Decision(1.7, (), None), Decision(0.8, (("b", 0.3),), 0.9)])
def test_every_frame_of_a_long_clip(rule, seed, decision):
    smooth, frames, found = Smoother(rule, CLASSES, decision.temperature), [], []
    for logits in random_frames(seed):
        said = answer(logits, CLASSES, 3, decision)
        name = said.get("class", said["top"][0]["class"])
        shares = {name: 1.0}
        if rule.by == "mean" and said.get("decided_by", "probability") == "probability":
            shares = {row["class"]: row["probability"] for row in said["top"]}
            shares = {other: share for other, share in shares.items() if share <= shares[name]}
            shares = {other: share / sum(shares.values()) for other, share in shares.items()}
        frames.append(shares)
        found.append(smooth(said, logits))
    expected = written_out(rule, frames)
    assert [one["class"] for one in found] == [name for name, _, _ in expected]
    assert [one["frames"] for one in found] == [number for _, _, number in expected]
    for one, (_, share, _) in zip(found, expected):
        assert one["share"] == (None if share is None else pytest.approx(share, abs=1e-4))
    names = {one["class"] for one in found}
    assert len(names) > 1


def answers(rule, names):
    smooth, found = Smoother(rule, CLASSES), []
    for name in names:
        logits = np.array([5.0 if name == other else 0.0 for other in CLASSES], np.float32)
        found.append(smooth(answer(logits, CLASSES, 1), logits)["class"] or "-")
    return "".join(found)


def test_by_hand():
    assert answers(Rule("votes", 3, 0.0, 1), "aabaaabbbb") == "aaaaaaabbb"
    assert answers(Rule("votes", 3, 0.0, 2), "aabaaabbbb") == "-aaaaaaabb", "a minimum duration"
    assert answers(Rule("votes", 4, 0.5, 1), "aaabbbabbb") == "aaaaabbbbb", "at 3 of 4 votes, not before"
    assert answers(Rule("votes", 4, 0.6, 1), "aaabbbabbb") == "aaaaaaaaaa"
    assert answers(Rule("votes", 2, 0.0, 1), "ababab") == "aaaaaa", "a tie changes nothing"
    assert answers(Rule("votes", 2, 0.0, 9), "aaaabbbb") == "--------"


def write_clip(path):
    """Ten red frames with one green between, then ten green ones with one red."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(20):
        frame = np.full((48, 64, 3), 30, np.uint8)
        red = number < 10
        frame[..., 2 if red != (number in (4, 14)) else 1] = 200
        writer.write(frame)
    writer.release()
    return str(path)


def run(bundle, sources):
    manifest, out = read_manifest(bundle), io.StringIO()
    with open_runner("onnxruntime", bundle, manifest) as runner:
        asked = Asked(top=2, smoothing=rule_of(manifest))
        classify(sources, manifest, runner, asked, Progress(), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("by", ["votes", "mean"])
def test_a_clip_through_classify_tells_both_answers(tmp_path, by):
    bundle, clip = make_bundle(tmp_path / "bundle"), write_clip(tmp_path / "clip.avi")
    row = {"by": by, "frames": 5, "margin": 0.1, "hold": 2}
    sign(bundle, provenance={"smoothing": row})
    pretend_verified(bundle)
    lines = run(bundle, [clip, clip])
    raw = [line["top"][0]["class"] for line in lines]
    assert raw == ["red"] * 4 + ["green"] + ["red"] * 5 + ["green"] * 4 + ["red"] + ["green"] * 5 + raw[:20]
    frames = [
        {raw[i]: 1.0} if by == "votes" else {one["class"]: one["probability"] for one in line["top"]}
        for i, line in enumerate(lines[:20])
    ]
    names = {"a": "red", "b": "green"}
    back = {name: letter for letter, name in names.items()}
    expected = written_out(Rule(**row), [{back[name]: share for name, share in frame.items()} for frame in frames])
    smoothed = [line["smoothed"]["class"] for line in lines]
    assert smoothed[:20] == [names.get(name) for name, _, _ in expected]
    assert smoothed[20:] == smoothed[:20], "each clip begins anew"
    changes = sum(one != other for one, other in zip(smoothed[1:20], smoothed[2:20]))
    assert changes == 1, "once from red to green, however the frames flicker"
    images = run(bundle, [str(bundle) + "/golden/images"])
    assert all("smoothed" not in line for line in images), "images do not follow each other"


def test_a_bundle_of_before_smooths_nothing(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    assert rule_of(read_manifest(bundle)) is None


@pytest.mark.parametrize(
    "row",
    [
        "votes",
        {},
        {"by": "votes", "frames": 5, "margin": 0.1},
        {"by": "votes", "frames": 5, "margin": 0.1, "hold": 1, "more": 1},
        {"by": "median", "frames": 5, "margin": 0.1, "hold": 1},
        {"by": "votes", "frames": 1, "margin": 0.1, "hold": 1},
        {"by": "votes", "frames": 5.5, "margin": 0.1, "hold": 1},
        {"by": "votes", "frames": True, "margin": 0.1, "hold": 1},
        {"by": "votes", "frames": 5, "margin": 1, "hold": 1},
        {"by": "votes", "frames": 5, "margin": "0.1", "hold": 1},
        {"by": "votes", "frames": 5, "margin": 0.1, "hold": 0},
    ],
)
def test_what_edgedistill_does_not_write_is_refused(tmp_path, row):
    bundle = make_bundle(tmp_path / "bundle")
    sign(bundle, provenance={"smoothing": row})
    with pytest.raises(ManifestError, match="smoothing is .* which edgedistill does not write"):
        rule_of(read_manifest(bundle))
