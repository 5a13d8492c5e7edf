# ruff: noqa: E501  (models are written as text)
"""Real exports: what Paddle and both of torch's exporters write becomes clean, equal and named."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest

from xgraph.graph.io import read
from xgraph.graph.layers import layers, resolve, target_layer
from xgraph.graph.normalise import normalise, unknown_ranks
from xgraph.graph.patterns import Gelu, LayerNorm, find_embeddings, find_heads, match_gelu, match_layer_norm
from xgraph.graph.shapes import dims

PADDLE = r"""
import sys
import paddle, paddle2onnx
from paddle import nn
folder = sys.argv[1]
paddle.seed(0)

def save(layer, name, *specs):
    layer.eval()
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=[paddle.static.InputSpec(*s) for s in specs]), f"{folder}/{name}")
    text = open(f"{folder}/{name}.json").read().replace('0.a_f64', '0.a_f32')
    open(f"{folder}/{name}.json", "w").write(text)
    data = paddle2onnx.export(f"{folder}/{name}.json", f"{folder}/{name}.pdiparams", None, opset_version=17, verbose=False)
    open(f"{folder}/{name}.onnx", "wb").write(data)

class ViT(nn.Layer):
    def __init__(self, d=32, n=16):
        super().__init__()
        self.patch = nn.Conv2D(3, d, 8, 8)
        self.cls = self.create_parameter([1, 1, d])
        self.pos = self.create_parameter([1, n + 1, d])
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, activation="gelu", normalize_before=True), 2)
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, 10)
    def forward(self, x):
        x = self.patch(x).flatten(2).transpose([0, 2, 1])
        c = self.cls.expand([x.shape[0], -1, -1])
        x = paddle.concat([c, x], 1) + self.pos
        return nn.functional.softmax(self.head(self.norm(self.enc(x))[:, 0]))

class Bert(nn.Layer):
    def __init__(self, d=32):
        super().__init__()
        self.word = nn.Embedding(100, d, padding_idx=0)
        self.position = nn.Embedding(64, d)
        self.kind = nn.Embedding(2, d)
        self.norm = nn.LayerNorm(d)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, activation="gelu"), 2)
        self.pool = nn.Linear(d, d)
        self.head = nn.Linear(d, 3)
    def forward(self, input_ids, token_type_ids, attention_mask):
        ones = paddle.ones_like(input_ids)
        positions = paddle.cumsum(ones, axis=-1) - ones
        x = self.norm(self.word(input_ids) + self.position(positions) + self.kind(token_type_ids))
        mask = (1.0 - attention_mask.astype("float32").unsqueeze([1, 2])) * -1e4
        return self.head(paddle.tanh(self.pool(self.encoder(x, mask)[:, 0])))

class Lstm(nn.Layer):
    def __init__(self, d=16):
        super().__init__()
        self.word = nn.Embedding(50, d)
        self.lstm = nn.LSTM(d, 8, direction="bidirect")
        self.head = nn.Linear(16, 2)
    def forward(self, ids):
        x, _ = self.lstm(self.word(ids))
        return nn.functional.softmax(self.head(x.max(1)))

save(paddle.vision.models.resnet18(num_classes=10), "resnet", ([None, 3, 64, 64], "float32", "image"))
save(paddle.vision.models.mobilenet_v3_small(num_classes=10), "mobilenet", ([None, 3, 64, 64], "float32", "image"))
save(ViT(), "vit", ([None, 3, 32, 32], "float32", "image"))
ids = [None, None], "int64"
save(Bert(), "bert", (*ids, "input_ids"), (*ids, "token_type_ids"), (*ids, "attention_mask"))
save(Lstm(), "lstm", (*ids, "ids"))
"""

KINDS = ("script", "dynamo18", "dynamo23" if onnx.defs.onnx_opset_version() >= 23 else "dynamo20")
"""torch writes Attention from 23 on, where the installed onnx has it."""
EXPECTED_SHAPE_NODES = {"resnet": 0, "mobilenet": 0, "vit": 1, "bert": 1, "lstm": 2}


@pytest.fixture(scope="module")
def paddle_folder(tmp_path_factory):
    if importlib.util.find_spec("paddle") is None or importlib.util.find_spec("paddle2onnx") is None:
        pytest.skip("needs the paddle extra")
    folder = tmp_path_factory.mktemp("paddle")
    # The converter aborts its process when it fails, so it gets one of its own.
    script = folder / "export.py"
    script.write_text(PADDLE)  # a file, because Paddle reads the source of what it traces
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.paddle
@pytest.mark.parametrize("name", EXPECTED_SHAPE_NODES)
def test_paddle_exports(name, paddle_folder, evaluator):
    result = normalise(read(paddle_folder / f"{name}.onnx"), evaluator=evaluator)
    ops = [node.op_type for node in result.graph]
    assert not {"Identity", "Constant", "Dropout"} & set(ops)
    assert ops.count("Shape") <= EXPECTED_SHAPE_NODES[name]
    assert not unknown_ranks(result)
    assert all(None not in dims(o) for n in result.graph for o in n.outputs if o.name)
    symbols = {d for n in result.graph for o in n.outputs for d in dims(o) or () if isinstance(d, str)}
    assert symbols <= {"batch", "sequence"}
    assert layers(result)


@pytest.mark.paddle
def test_paddle_vit(paddle_folder):
    result = normalise(read(paddle_folder / "vit.onnx"))
    (head,) = find_heads(result)
    assert head.kind == "softmax"
    assert dims(head.logits) == ("batch", 10)
    assert sum(isinstance(match_gelu(node), Gelu) for node in result.graph) == 2
    roles = [layer.role for layer in layers(result)]
    assert roles.count("attention probability") == 2
    assert roles.count("residual add") == 4


@pytest.mark.paddle
def test_paddle_bert(paddle_folder):
    result = normalise(read(paddle_folder / "bert.onnx"))
    found, _ = find_embeddings(result)
    kinds = {(e.input.name if e.input else None, e.kind, e.table.name.split("_")[0]) for e in found}
    assert {
        ("input_ids", "word", "embedding"),
        ("token_type_ids", "type", "embedding"),
        (None, "position", "embedding"),
    } == kinds
    assert {tuple(dims(value)) for value in result.graph.inputs} == {("batch", "sequence")}


@pytest.mark.paddle
def test_paddle_resnet(paddle_folder):
    target = target_layer(layers(normalise(read(paddle_folder / "resnet.onnx"))))
    assert (target.op, target.shape) == ("Relu", ("batch", 512, 2, 2))


def torch_models():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self, c, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(c, 2 * c, 3, stride, 1), nn.BatchNorm2d(2 * c)
            self.conv2, self.down = nn.Conv2d(2 * c, 2 * c, 3, 1, 1), nn.Conv2d(c, 2 * c, 1, stride)
            self.act = nn.SiLU()

        def forward(self, x):
            return self.act(self.conv2(self.act(self.bn1(self.conv1(x)))) + self.down(x))

    class Resnet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, 2, 1)
            self.layer1 = nn.Sequential(Block(4, 1), Block(8, 2))
            self.head = nn.Linear(16, 5)

        def forward(self, x):
            return self.head(self.layer1(self.stem(x)).mean((2, 3)))

    class Encoder(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

        def forward(self, x, mask=None):
            n, t, d = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, 4, d // 4).permute(2, 0, 3, 1, 4)
            a = nn.functional.scaled_dot_product_attention(q, k, v, mask)
            x = x + self.out(a.transpose(1, 2).reshape(n, t, d))
            return x + self.mlp(self.norm2(x))

    class Vit(nn.Module):
        def __init__(self, d=16):
            super().__init__()
            self.patch = nn.Conv2d(3, d, 4, 4)
            self.cls, self.pos = nn.Parameter(torch.randn(1, 1, d)), nn.Parameter(torch.randn(1, 65, d))
            self.blocks = nn.ModuleList([Encoder(d), Encoder(d)])
            self.head = nn.Linear(d, 5)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
            for block in self.blocks:
                x = block(x)
            return self.head(x[:, 0]).softmax(-1)

    class Bert(nn.Module):
        def __init__(self, d=16):
            super().__init__()
            self.word, self.position = nn.Embedding(50, d), nn.Embedding(32, d)
            self.layer = nn.ModuleList([Encoder(d), Encoder(d)])
            self.head = nn.Linear(d, 3)

        def forward(self, ids, mask):
            x = self.word(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))[None]
            for layer in self.layer:
                x = layer(x, (mask != 0)[:, None, None, :])
            return self.head(x[:, 0])

    tokens = torch.randint(0, 50, (2, 8)), torch.ones(2, 8, dtype=torch.int64)
    image = (torch.randn(2, 3, 32, 32),)
    return {"resnet": (Resnet(), image, ["x"]), "vit": (Vit(), image, ["x"]), "bert": (Bert(), tokens, ["ids", "mask"])}


@pytest.fixture(scope="module")
def torch_folder(tmp_path_factory):
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("torch")
    for name, (module, example, inputs) in torch_models().items():
        axes = {i: {0: "batch", 1: "tokens"} if name == "bert" else {0: "batch"} for i in inputs}
        dynamic = tuple({k: torch.export.Dim(v) for k, v in axes[i].items()} for i in inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module.eval()
            for kind in KINDS:
                path = folder / f"{name}_{kind}.onnx"
                if kind == "script":
                    torch.onnx.export(
                        module, example, path, dynamo=False, opset_version=17, input_names=inputs, output_names=["y"],
                        dynamic_axes=axes,
                    )  # fmt: skip
                else:
                    torch.onnx.export(
                        module, example, path, dynamo=True, opset_version=int(kind[-2:]), input_names=inputs,
                        output_names=["y"], dynamic_shapes=dynamic, verbose=False,
                    )  # fmt: skip
    return folder


@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resnet", "vit", "bert"])
def test_torch_exports(name, kind, torch_folder: Path, evaluator):
    result = normalise(read(torch_folder / f"{name}_{kind}.onnx"), evaluator=evaluator)
    ops = [node.op_type for node in result.graph]
    assert not {"Identity", "Constant", "Attention", "Gelu"} & set(ops)
    assert not unknown_ranks(result)
    assert all(None not in dims(o) for n in result.graph for o in n.outputs if o.name)
    found = layers(result)
    names = {layer.name for layer in found}
    assert len(names) == len(found)
    if name == "resnet":
        # The older exporter numbers the second use of a module.
        last = "layer1.1.act_1" if kind == "script" else "layer1.1.act"
        assert {"stem", "layer1.0.act", "layer1.1.conv2", last} <= names
        assert resolve(result, found, "layer1") == resolve(result, found, last)
        assert target_layer(found).name == last
        assert "Shape" not in ops
    else:
        prefix = "blocks" if name == "vit" else "layer"
        assert {f"{prefix}.0", f"{prefix}.1", f"{prefix}.1.mlp.2", "head"} <= names
        assert sum(isinstance(match_gelu(node), Gelu) for node in result.graph) == 2
        assert sum(isinstance(match_layer_norm(node), LayerNorm) for node in result.graph) == 4
        assert [layer.role for layer in found].count("attention probability") == 2
        assert ops.count("Shape") <= 2
