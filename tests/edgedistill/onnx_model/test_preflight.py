"""Each rule on the smallest graph that breaks it, and on its neighbour that does not."""

import json

import numpy as np
import onnx
import pytest

from edgedistill.config.target import load_target, releases, target_names
from edgedistill.errors import PreflightError, RecipeError
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.onnx_model.check import check, fix, text_from_check
from edgedistill.onnx_model.findings import with_bodies
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.rules.tables import importers
from hand_made import array, model, node, save
from rule_cases import CASES, MORE, breaks_one_rule, found
from small_graphs import (
    AXES,
    constant,
    external,
    in_branch,
    pair,
    plain,
)


@pytest.mark.parametrize("name", CASES)
def test_one_rule(tmp_path, name):
    breaks_one_rule(CASES[name], MORE.get(name, set()), tmp_path)


def test_an_open_shape_is_told_with_what_to_fix_it_by(tmp_path):
    (finding,) = found(plain(shape=("n", 3, None, 8)), tmp_path / "m.onnx", "8.2")
    assert finding.why == "its shape [n, 3, ?, 8] is not fixed"
    assert finding.mend.endswith("--shape x=N,3,N,8")


def test_weights_in_another_file_are_found_wanting_by_their_size(tmp_path):
    made = external()
    made.graph.initializer[0].dims[:] = [1 << 15, 1 << 15, 1, 1]
    (tmp_path / "w.bin").touch()
    rules = {f.rule for f in found(made, tmp_path / "m.onnx", "8.2")}
    assert {"external-data", "size"} <= rules


def outside(tensor):
    """The same tensor with its data in w.bin."""
    made = onnx.TensorProto.FromString(tensor.SerializeToString())
    onnx.external_data_helper.set_external_data(made, "w.bin")
    made.ClearField("raw_data")
    return made


@pytest.mark.parametrize("where", ["main", "body"])
def test_weights_in_another_file_of_constant_nodes_are_found(tmp_path, where):
    """As onnx.save(..., convert_attribute=True) writes them; without the other file no parser can read it."""
    value = array("", np.ones((1, 3, 8, 8)))
    (tmp_path / "w.bin").write_bytes(value.raw_data)
    parts = [node("Constant", (), ["k"], value=value), node("Add", "xk", ["i"])]
    made = in_branch(*parts) if where == "body" else constant(value=value)
    for graph in with_bodies(made.graph):
        for item in graph.node[0].attribute:
            if item.name == "value":
                item.t.CopyFrom(outside(item.t))
    findings = [f for f in found(made, tmp_path / "m.onnx", "10.3") if f.level == "error"]
    assert [(f.rule, f.node) for f in findings] == [("external-data", "n_Constant_k")]
    fixed = fix(tmp_path / "m.onnx", "orin-nano-8gb", tmp_path / "fixed.onnx")
    assert fixed["fits"], fixed


def test_a_file_of_more_than_two_gib_is_not_read(tmp_path):
    with open(tmp_path / "m.onnx", "wb") as file:
        file.truncate((2 << 30) + 1)  # sparse: takes no room
    findings = check_onnx(tmp_path / "m.onnx", load_target("jetson-nano"))
    assert [finding.rule for finding in findings] == ["size"]


@pytest.mark.parametrize("content", [b"", b"no", b"\x08\x07"])
def test_a_file_that_is_no_onnx(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(PreflightError, match="not a readable ONNX model"):
        check_onnx(tmp_path / "m.onnx", load_target("jetson-nano"))


def test_a_recipe_and_a_folder_lead_to_the_exported_file(tmp_path):
    recipe, folder = tmp_path / "parts.toml", tmp_path / "parts"
    for text in ("", '[data]\ntrain = "images"\n'):  # protobuf reads an empty file as nothing
        recipe.write_text(text)
        with pytest.raises(
            PreflightError, match=r"parts\.toml: a recipe, .* RUN/export/student\.onnx, as in runs/parts/"
        ):
            check_onnx(recipe, load_target("jetson-nano"))
    folder.mkdir()
    with pytest.raises(PreflightError, match=r"parts: a folder, .* RUN/export/student\.onnx"):
        check_onnx(folder, load_target("jetson-nano"))
    recipe.unlink()
    with pytest.raises(PreflightError, match="no such file"):
        check_onnx(recipe, load_target("jetson-nano"))


def test_q_dq_is_refused_where_there_is_no_int8(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(pair().SerializeToString())
    assert {f.rule for f in check_onnx(path, load_target("jetson-nano"))} == {"no-int8-hardware"}
    assert check_onnx(path, load_target("xavier-nx")) == []


def test_later_releases_take_more(tmp_path):
    path = save(tmp_path / "m.onnx", [node("HardSwish", "x")], opset=14)
    verdicts = {name: check(path, name)["fits"] for name in target_names()}
    assert verdicts == {
        **dict.fromkeys(("jetson-nano", "jetson-nano-2gb", "tx2"), False),
        **dict.fromkeys(("agx-xavier", "orin-nx-8gb", "orin-nx-16gb", "agx-orin", "thor"), True),
        "xavier-nx": True,
        "orin-nano-4gb": True,
        "orin-nano-8gb": True,
        "local": True,
    }
    text = text_from_check(check(path, "jetson-nano"))
    assert "n_HardSwish: TensorRT 8.2 has no importer for HardSwish" in text
    assert text.splitlines()[-1].endswith("not a run of the board's parser)")


def test_the_release_of_another_jetpack(tmp_path):
    path = save(tmp_path / "m.onnx", [node("ReduceMean", "xa")], [AXES], opset=18, ir=9)
    found = {name: {f["rule"] for f in check(path, "orin-nano-8gb", name)["findings"]} for name in releases()}
    assert found == {
        "8.2": {"opset", "ir", "reduce-axes"},
        "8.5": {"opset", "ir", "reduce-axes"},
        "8.6": {"opset", "ir", "reduce-axes"},
        "10.3": set(),
        "10.16": set(),
        "11.4": {"strong-typing"},
    }
    with pytest.raises(RecipeError, match=r"TensorRT '9.0' is not known; known: 8.2, 8.5"):
        check(path, "orin-nano-8gb", "9.0")


def test_the_operator_table_knows_when_an_importer_came():
    first = {
        "HardSwish": "8.5",
        "Mod": "8.5",
        "LayerNormalization": "8.6",
        "Gelu": "10.3",
        "STFT": "10.16",
        "RMSNormalization": "10.16",
        "Swish": "11.4",
        "DFT": "11.4",
    }
    for operator, release in first.items():
        has = [name for name, r in releases().items() if operator in importers(r.operators)]
        assert has == list(releases())[list(releases()).index(release) :]
    for release in releases().values():
        assert not {"QLinearConv", "DynamicQuantizeLinear"} & importers(release.operators)


def test_the_findings_are_json(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Mod", "xx", fmod=1)])
    finding = json.loads(json.dumps(check(path, "jetson-nano")))["findings"][0]
    assert set(finding) == {"level", "rule", "node", "why", "mend"}


def test_int8_on_a_nano_is_served_as_fp16_with_the_reason():
    executed, reason = executed_precision(load_target("jetson-nano"), "int8")
    assert executed == "fp16"
    assert "no INT8 hardware (sm_53)" in reason
    assert executed_precision(load_target("orin-nano-8gb"), "int8") == ("int8", "")
    assert executed_precision(load_target("local"), "fp16")[0] == "fp32"


def test_an_unknown_board_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'jetson-nano'"):
        load_target("jetson_nano")


def reversed_nodes(made):
    """The same model, each list of nodes backwards, those of bodies too."""
    back = onnx.ModelProto.FromString(made.SerializeToString())
    for graph in reversed(list(with_bodies(back.graph))):
        nodes = list(graph.node)[::-1]
        graph.ClearField("node")
        graph.node.extend(nodes)
    return back


def of_two_orders():
    """Its rule needs sizes that follow from the node before: a computed vector times three dimensions."""
    return model(
        [
            node("ReduceMean", "x", ["v"], axes=[0, 1, 2], keepdims=0),
            node("Relu", "x", ["r"]),
            node("Squeeze", "ra", ["t"]),
            node("MatMul", "vt"),
        ],
        [array("a", [0], np.int64)],
    )


@pytest.mark.parametrize(
    "made", [of_two_orders(), in_branch(node("Mod", "xx", ["r"], fmod=1), node("Relu", "r", ["i"]))]
)
def test_the_order_of_the_nodes_changes_no_verdict(tmp_path, made):
    """TensorRT's parser sorts them; ONNX's shape inference, of which the rules ask sizes, does not."""
    findings = found(made, tmp_path / "m.onnx", "8.2")
    assert any(finding.level == "error" for finding in findings)
    back = reversed_nodes(made)
    assert [n.name for n in back.graph.node] == [n.name for n in made.graph.node][::-1]
    assert found(back, tmp_path / "r.onnx", "8.2") == findings
