"""A file of PyTorch's own exporter of today: mended for 8.2, it is still the network."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgedistill.onnx_model.check import check, fix


class Small(nn.Module):
    """What exporters write differently from release to release: attention, norms, gelu, a mask."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8)
        self.project, self.last, self.out = nn.Linear(8, 24), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, image):
        x = nn.functional.gelu(self.norm(self.conv(image)), approximate="tanh")
        query, key, value = self.project(x.flatten(2).transpose(1, 2)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(self.last(x.transpose(1, 2).flatten(2)).mean(1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the exporter's own
def test_an_export_with_an_open_batch_and_the_attention_operator(tmp_path):
    torch.manual_seed(0)
    net = Small().eval()
    program = torch.onnx.export(
        net,
        (torch.zeros(2, 3, 8, 8),),
        dynamo=True,
        opset_version=23,
        verbose=False,
        input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    program.save(tmp_path / "m.onnx")
    assert "Attention" in {node.op_type for node in onnx.load(str(tmp_path / "m.onnx")).graph.node}
    assert not check(tmp_path / "m.onnx", "jetson-nano")["fits"]
    result = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert result["fits"], result
    image = torch.randn(1, 3, 8, 8)
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": image.numpy()})[0]
    np.testing.assert_allclose(got, net(image).detach().numpy(), rtol=1e-4, atol=1e-5)
