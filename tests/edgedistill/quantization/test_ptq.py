"""Equalisation, bias correction and rounding, each against what it promises, computed another way."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgedistill.config.target import load_target
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.accuracy import sqnr_db
from edgedistill.quantization.equalisation import channels_read, equalised, groups_of
from edgedistill.quantization.mixed_precision import int8_logits
from edgedistill.quantization.observe import shaped
from edgedistill.quantization.ptq import prepared_for_int8, split_images
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.quantization.reconstruction import reconstructed
from edgedistill.quantization.rounding import nearest, rounded, scales_of


class Gated(nn.Module):
    """Every way that a factor may take: ReLU, depthwise, gate, residual sum, pooling, a Gemm; not ReLU6."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.project, self.expand, self.back = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 12, 1), nn.Conv2d(12, 6, 1)
        self.grouped = nn.Conv2d(6, 8, 3, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.depthwise(torch.relu(self.stem(x))))
        gate = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        x = self.project(x * nn.functional.hardsigmoid(gate))
        x = x + self.back(nn.functional.relu6(self.expand(x)))
        x = nn.functional.adaptive_avg_pool2d(torch.relu(self.grouped(x)), 1)
        return self.head(torch.flatten(x, 1))


@pytest.fixture
def images(rng):
    return drawn(rng, 16)


def drawn(rng, count):
    """Neighbouring pixels and colours alike, as in pictures."""
    coarse = rng.normal(size=(count, 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    return (coarse + 0.3 * rng.normal(size=(count, 3, 16, 16))).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """A network whose channels differ as those of trained networks do."""
    torch.manual_seed(3)
    net = Gated().eval()
    with torch.no_grad():
        for conv in (net.stem, net.project, net.grouped):
            spread = torch.exp2(torch.linspace(-4, 3, len(conv.weight)))
            conv.weight *= spread.view(-1, 1, 1, 1)
            conv.bias *= spread
    path = tmp_path / "m.onnx"
    onnx_from_model(net, np.zeros((2, 3, 16, 16), np.float32), path, {})
    return path


def logits(path, images):
    with OnnxSession(path) as session:
        return session.logits(images)


def saved(model, path):
    onnx.save(model, str(path))
    return path


def ranges(path, images):
    return ranges_from_model(path, lambda i: images[i : i + 1], len(images), "mse")


def stored(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


def test_an_equalised_network_has_the_same_float_outputs_to_the_last_bit(model, images, tmp_path):
    scaled, channels = equalised(shaped(model), images)
    path = saved(scaled, tmp_path / "e.onnx")
    before, after = stored(model), stored(path)
    assert channels > 10
    assert sum(not np.array_equal(before[name], after[name]) for name in before) > 8
    assert np.array_equal(logits(path, images), logits(model, images))
    assert check_onnx(path, load_target("xavier-nx")) == []


def test_channels_are_scaled_only_between_what_a_factor_passes(model):
    groups = [
        (sorted(node.output[0].split("/")[1] for node in one.producers), sorted(node.op_type for node in one.consumers))
        for one in groups_of(shaped(model))
    ]
    assert sorted(groups) == [
        (["back", "project"], ["Conv", "Conv"]),
        (["depthwise"], ["Conv", "Conv"]),
        (["grouped"], ["Gemm"]),
        (["squeeze"], ["Conv"]),
        (["stem"], ["Conv"]),
    ]


def test_equalisation_brings_int8_closer_to_float(model, images, tmp_path):
    path = saved(equalised(shaped(model), images)[0], tmp_path / "e.onnx")
    reference = logits(model, images)
    plain, better = (sqnr_db(reference, int8_logits(one, ranges(one, images).kept, images)) for one in (model, path))
    assert better > plain + 3


def test_a_weight_knows_which_channel_it_reads():
    assert channels_read(np.zeros((4, 3, 1, 1)), 6).tolist() == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2
    assert channels_read(np.zeros((3, 1, 3, 3)), 3).ravel().tolist() == [0, 1, 2]


def test_biases_take_up_the_mean_error_of_each_layer(model, images, tmp_path):
    amax = ranges(model, images).kept
    qdq_from_onnx(model, amax, tmp_path / "q.onnx")
    path = saved(reconstructed(model, tmp_path / "q.onnx", images, rounding=False), tmp_path / "b.onnx")
    names = [node.output[0] for node in onnx.load(str(model)).graph.node if node.op_type == "Conv"]
    wanted = tensors(model, names, images)
    shifts = []
    for one in (model, path):
        qdq_from_onnx(one, amax, tmp_path / "q.onnx")
        found = tensors(tmp_path / "q.onnx", names, images)
        shifts.append([np.abs((a - b).mean((0, 2, 3))).max() for a, b in zip(wanted, found, strict=True)])
    # ONNX Runtime fuses what it runs as a whole, and rounds a little otherwise than node by node.
    assert all(after < 0.5 * before for before, after in zip(*shifts, strict=True))
    assert sum(shifts[1]) < 0.1 * sum(shifts[0])
    assert all(np.array_equal(stored(model)[n], stored(path)[n]) for n in stored(model) if stored(model)[n].ndim == 4)


def tensors(path, names, images):
    model = onnx.load(str(path))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnx.save(model, str(path.with_name("shown.onnx")))
    with OnnxSession(path.with_name("shown.onnx"), names) as session:
        runs = [session.run(image[np.newaxis]) for image in images]
    return [np.concatenate([run[place] for run in runs]) for place in range(len(names))]


def test_no_weight_alone_finds_a_better_step(rng):
    """One up or down of any but the pinned one, by the error written out; below that of the nearest steps."""
    inputs = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))
    moments = np.cov(inputs.T, bias=True)
    weight = rng.uniform(-1, 1, size=(1, 4, 12))
    weight[:, :, 0] = 1.0
    step = 1 / 127

    def error(row, candidate):
        return np.square(inputs @ (candidate - row) - (inputs @ (candidate - row)).mean()).mean()

    found = rounded(weight, moments[np.newaxis], weight @ moments, 0.0)
    totals = [sum(map(error, weight[0], one)) for one in (found[0], np.rint(weight[0] / step) * step)]
    assert totals[0] < 0.9 * totals[1]
    for row, own in zip(weight[0], found[0], strict=True):
        for place, sign in product(range(1, 12), (-1, 1)):
            assert error(row, own) <= error(row, own + sign * step * np.eye(12)[place]) * (1 + 1e-6)


def test_the_size_of_a_block_is_for_speed_alone(rng, monkeypatch):
    """Twelve inputs in blocks of 5, 5 and 2: what one block moved, the next ones know."""
    weight = rng.normal(size=(2, 4, 12))
    inputs = rng.normal(size=(2, 200, 12)) + 3 * rng.normal(size=(2, 200, 1))
    moments = np.stack([np.cov(one.T, bias=True) for one in inputs])
    whole = rounded(weight, moments, weight @ moments, 0.01)
    monkeypatch.setattr("edgedistill.quantization.rounding.BLOCK", 5)
    assert np.array_equal(rounded(weight, moments, weight @ moments, 0.01), whole)


def test_rounded_weights_are_steps_that_whoever_quantizes_them_finds_again(rng):
    weight = rng.normal(size=(2, 4, 9)).astype(np.float32)
    moments = np.stack([np.cov(rng.normal(size=(9, 30))) for _ in range(2)])
    found = rounded(weight.astype(np.float64), moments, weight @ moments, 0.01).reshape(8, 9)
    steps = found / scales_of(weight.reshape(8, 9))[:, np.newaxis]
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    assert scales_of(found) == pytest.approx(scales_of(weight.reshape(8, 9)), rel=1e-6)
    assert np.array_equal(np.rint(nearest(found) / scales_of(found)[:, np.newaxis]), np.rint(steps))
    assert not np.array_equal(found, nearest(weight.reshape(8, 9)))


def test_rounding_by_layer_beats_nearest_on_other_images(model, images, rng, tmp_path):
    """By the output of the first layer, which has no errors of others to make up for."""
    amax, others = ranges(model, images).kept, drawn(rng, 32)
    qdq_from_onnx(model, amax, tmp_path / "q.onnx")
    stem = next(node.output[0] for node in onnx.load(str(model)).graph.node if node.op_type == "Conv")
    wanted, found = tensors(model, [stem], others)[0], []
    for rounding in (False, True):
        path = saved(reconstructed(model, tmp_path / "q.onnx", images, rounding), tmp_path / "r.onnx")
        qdq_from_onnx(path, amax, tmp_path / "i.onnx")
        found.append(sqnr_db(wanted, tensors(tmp_path / "i.onnx", [stem], others)[0]))
    assert found[1] > found[0] + 0.2
    weights = stored(path)
    assert any(not np.array_equal(nearest(stored(model)[n]), w) for n, w in weights.items() if w.ndim == 4)


def test_only_what_helps_on_held_out_images_is_kept(model, images, rng, tmp_path):
    held_out = drawn(rng, 8)
    own = ranges(model, images)
    made = prepared_for_int8(model, own, lambda path: ranges(path, images), images, held_out, tmp_path)
    reference = logits(model, held_out)
    plain, better = (
        sqnr_db(reference, int8_logits(path, its.kept, held_out))
        for path, its in ((model, own), (made.path, made.ranges))
    )
    equalisation, bias, rounding = made.record.steps
    assert made.record.sqnr_db == pytest.approx(plain)
    assert better == pytest.approx(max(step.sqnr_db for step in made.record.steps))
    assert better > plain
    assert [step.kept for step in made.record.steps] == [step.gain_db > 0 for step in made.record.steps]
    assert equalisation.kept
    assert made.float_path != model
    assert np.array_equal(logits(made.float_path, held_out), reference)
    assert made.record.line.startswith(f"PTQ: equalisation kept ({equalisation.gain_db:+.1f} dB), bias correction ")


def test_what_harms_is_not_kept(model, images, tmp_path, monkeypatch):
    def spoilt(path, int8, fit, rounding):
        found = onnx.load(str(path))
        for tensor in found.graph.initializer:
            if tensor.dims == [8]:  # biases
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(3), tensor.name))
        return found

    monkeypatch.setattr("edgedistill.quantization.ptq.reconstructed", spoilt)
    own = ranges(model, images)
    made = prepared_for_int8(model, own, lambda path: ranges(path, images), images, images[:4], tmp_path)
    assert [step.kept for step in made.record.steps[1:]] == [False, False]
    assert all(step.gain_db < -3 for step in made.record.steps[1:])
    assert made.path == made.float_path


def test_a_layer_left_in_float_has_its_float_weights(model, images, tmp_path):
    amax = ranges(model, images).kept
    qdq_from_onnx(model, amax, tmp_path / "q.onnx")
    path = saved(reconstructed(model, tmp_path / "q.onnx", images, rounding=True), tmp_path / "r.onnx")
    convs = [node for node in onnx.load(str(model)).graph.node if node.op_type == "Conv"]
    every = [node.output[0] for node in convs]
    assert not np.array_equal(logits(path, images), logits(model, images))
    own, rounded_ones = (int8_logits(path, amax, images, every, float_path=one) for one in (model, None))
    reference = logits(model, images)
    # What is left is the skip branch of the sum, which is INT8 in both.
    assert np.array_equal(own, int8_logits(model, amax, images, every))
    assert sqnr_db(reference, own) > sqnr_db(reference, rounded_ones)


def two_convs(folder, images, rng, bias=""):
    """Their float file, with the names of their biases, and ranges that clip."""
    graph = onnx.parser.parse_graph(
        f"""g (float[1, 3, 16, 16] image) => (float[1, 5] logits) {{
        a = Conv (image, wa{bias})  b = Relu (a)  c = Conv (b, wc{bias})  d = GlobalAveragePool (c)
        logits = Flatten (d) }}"""
    )
    for name, shape in (("wa", (5, 3, 3, 3)), ("wc", (5, 5, 1, 1)), ("same", (5,))):
        graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    opsets = [onnx.helper.make_opsetid("", 13)]
    path = saved(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=7), folder / "plain.onnx")
    return path, {name: 0.4 * value for name, value in ranges(path, images).kept.items()}


def corrected(path, amax, images):
    """The file with corrected biases, whose logits have no mean error any more."""
    qdq_from_onnx(path, amax, path.with_name("q.onnx"))
    made = saved(reconstructed(path, path.with_name("q.onnx"), images, rounding=False), path.with_name("b.onnx"))
    reference = logits(path, images)
    means = [np.abs((int8_logits(one, amax, images) - reference).mean(axis=0)).max() for one in (path, made)]
    assert means[1] < 0.01 * means[0]
    return made, reference


def test_convs_whose_equal_biases_the_exporter_merged_are_corrected_one_by_one(images, tmp_path, rng):
    path, amax = two_convs(tmp_path, images, rng, ", same")
    made, reference = corrected(path, amax, images)
    assert np.array_equal(int8_logits(made, amax, images, ["a", "c"], float_path=path), reference)


def test_a_conv_without_a_bias_gets_one_and_loses_it_where_it_is_left_in_float(images, tmp_path, rng):
    path, amax = two_convs(tmp_path, images, rng)
    made, reference = corrected(path, amax, images)
    assert [len(node.input) for node in onnx.load(str(made)).graph.node if node.op_type == "Conv"] == [3, 3]
    for keep in (["a"], ["c"], ["a", "c"]):
        outputs = int8_logits(made, amax, images, keep, float_path=path)
        biased = {"a", "c"} - set(keep)
        qdq_from_onnx(made, amax, tmp_path / "k.onnx", keep, float_path=path)
        convs = [node for node in onnx.load(str(tmp_path / "k.onnx")).graph.node if node.op_type == "Conv"]
        assert {node.output[0] for node in convs if len(node.input) == 3} == biased
        assert np.array_equal(outputs, reference) is (not biased)


def test_images_that_judge_are_not_fitted_on():
    fit, held_out = split_images(128, 32, 224 * 224)
    assert len(fit) == len(held_out) == 32
    assert not set(fit) & set(held_out)
    assert len(split_images(128, 32, 448 * 448)[0]) == 8
    fit, held_out = split_images(8, 32, 64 * 64)
    assert (fit, held_out) == ([0, 1, 2, 4, 5, 6], [3, 7])
