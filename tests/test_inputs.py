"""What goes into a model: accepted as it is, or refused in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import pytest
from PIL import Image

import xgraph
from xgraph import Preprocess
from xgraph.errors import InputError
from xgraph.inputs import prepare
from xgraph.model import Model

IMAGE = np.zeros((2, 3, builders.SIZE, builders.SIZE), np.float32)
IDS = np.ones((2, 5), np.int64)


@pytest.fixture(scope="module")
def masked(load_proto: Callable[[onnx.ModelProto], Model]) -> Model:
    return load_proto(builders.token_model(mask=True))


@pytest.fixture(scope="module")
def pair(load_proto: Callable[[onnx.ModelProto], Model]) -> Model:
    return load_proto(builders.features_model())


@pytest.mark.parametrize(
    "x",
    [
        IMAGE,
        {"image": IMAGE},
        IMAGE.astype(np.float64),
        IMAGE.astype(np.float16),
        IMAGE.tolist(),
        np.asfortranarray(IMAGE),
    ],
    ids=["array", "mapping", "float64", "float16", "list", "fortran"],
)
def test_accepted(tiny_model: Model, x: Any) -> None:
    prepared = prepare(tiny_model, x)["image"]
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous
    np.testing.assert_array_equal(prepared, IMAGE)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.uint64])
def test_integers_of_any_width_are_ids(masked: Model, dtype: type) -> None:
    prepared = prepare(masked, {"ids": IDS.astype(dtype), "attention_mask": IDS.astype(dtype)})
    assert prepared["ids"].dtype == np.int64
    assert list(prepared) == ["ids", "attention_mask"]


def with_entry(value: float) -> np.ndarray:
    array = IMAGE.astype(np.float64)
    array[1, 2, 3, 4] = value
    return array


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"img": IMAGE}, "no input 'img'; did you mean 'image'"),
        ({"Image": IMAGE}, "did you mean 'image'"),
        ({1: IMAGE}, "no input '1'"),
        ({}, "the input 'image' is missing"),
        (IMAGE[0], r"add it with x\[None\]"),
        (IMAGE[:, :, :8], r"has the shape \[2, 3, 8, 16\], the model takes \['batch', 3, 16, 16\]"),
        (IMAGE.transpose(0, 2, 3, 1), "transpose to NCHW"),
        (IMAGE[:0], "no samples"),
        (IMAGE[None], "has the shape"),
        (3.0, r"has the shape \[\]"),
        ([[1.0], [1.0, 2.0]], "its rows differ in length"),
        (with_entry(np.nan), r"holds nan at \[1, 2, 3, 4\]"),
        (with_entry(-np.inf), r"holds -inf at \[1, 2, 3, 4\]"),
        (with_entry(1e300), r"holds inf at \[1, 2, 3, 4\]"),
        (IMAGE.astype(np.uint8), "uint8 images need a preprocessing spec"),
        (IMAGE.astype(np.int64), "dtype int64, the model takes float32; preprocess images to float first"),
        (IMAGE.astype(complex), "dtype complex128, the model takes float32"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        (None, "dtype object"),
        (["missing.png"], "image files need a preprocessing spec"),
    ],
)
def test_refused(tiny_model: Model, x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        prepare(tiny_model, x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (IDS, "the model has 2 inputs; give a mapping name -> array for 'ids'"),
        ({"ids": IDS}, "the input 'attention_mask' is missing"),
        (
            {"ids": IDS, "attention_mask": IDS[:1]},
            "differ in their number of samples.*'ids' has 2.*'attention_mask' has 1",
        ),
        (
            {"ids": IDS, "attention_mask": IDS[:, :3]},
            "axis 'sequence' has size 5 in input 'ids' and 3 in 'attention_mask'",
        ),
        ({"ids": IDS * 1.0, "attention_mask": IDS}, "token ids are integers"),
        ({"ids": IDS, "attention_mask": IDS > 0}, "dtype bool, the model takes int64; give integers"),
        ({"ids": np.full((2, 5), 2**64 - 1, np.uint64), "attention_mask": IDS}, "cannot hold"),
        ({"ids": ["a.png"], "attention_mask": IDS}, "not an image; give an array instead of image files"),
    ],
)
def test_several_inputs_refused(masked: Model, x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(masked, x)


def test_features_that_are_integers_say_how_to_convert(pair: Model) -> None:
    with pytest.raises(InputError, match=r"convert it with x.astype\('float32'\)"):
        prepare(pair, {"a": np.ones((1, 4), int), "b": np.ones((1, 4), np.float32)})


def test_a_scalar_input_is_refused_by_name(load_proto: Callable[[onnx.ModelProto], Model]) -> None:
    draft = builders.Draft()
    draft("Mul", "x", "factor", out="logits")
    model = load_proto(draft.model({"x": ["batch", 3], "factor": []}, {"logits": ["batch", 3]}))
    with pytest.raises(InputError, match="'factor' is a single number without an axis of samples"):
        prepare(model, {"x": np.ones((1, 3), np.float32), "factor": np.float32(1)})


def test_inputs_are_not_modified(tiny_model: Model) -> None:
    x = with_entry(3.0)
    before = x.copy()
    prepare(tiny_model, x)[("image")][:] = 1
    np.testing.assert_array_equal(x, before)


def test_pictures_of_any_size_go_through_the_spec(tmp_path: Path, save_onnx: Callable[..., Path]) -> None:
    import xgraph

    model = xgraph.load(save_onnx(builders.tiny_cnn()), preprocess=Preprocess(size=(16, 16), mean=(0.5,), std=(0.25,)))
    rng = np.random.default_rng(0)
    paths = []
    for i, size in enumerate([(20, 30), (16, 16), (50, 11)]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(paths[-1])
    together = prepare(model, paths)["image"]
    assert together.shape == (3, 3, 16, 16)
    for path, row in zip(paths, together, strict=True):
        np.testing.assert_array_equal(prepare(model, path)["image"][0], row)
        np.testing.assert_array_equal(prepare(model, str(path))["image"][0], row)
    pixels = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    expected = (pixels.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(prepare(model, pixels)["image"], expected, atol=1e-5)


def mixed(*, second: list[Any], output: list[Any], shape: list[int] | None = None) -> onnx.ModelProto:
    """Two float inputs, of which the second is ``second``; the product is reshaped to ``shape``."""
    d = builders.Draft(0)
    scaled = d("Mul", d("MatMul", "x", d.weight("w", 4, 3), out="a"), "s", out="scaled")
    target = d.constant("target", np.array(shape or [0, 3], np.int64))
    d("Reshape", scaled, target, out="y")
    return d.model({"x": ["batch", 4], "s": second}, {"y": output})


def test_a_fixed_input_beside_a_dynamic_one_is_freed_or_runs_one_by_one(save_onnx: Callable[..., Path]) -> None:
    path = save_onnx(mixed(second=[1, 1], output=["batch", 3]))
    x = {"x": np.ones((2, 4), np.float32), "s": np.array([[1.0], [2.0]], np.float32)}
    freed, fixed = xgraph.load(path), xgraph.load(path, verify=False)
    assert (freed.batch, fixed.batch) == (None, 1)
    explained = [xgraph.explain(model, x, "input_x_gradient", target=1).values["x"] for model in (freed, fixed)]
    np.testing.assert_allclose(*explained, rtol=1e-6)
    with pytest.raises(InputError, match=r"'x' has 2, 's' has 1; the model takes one row of 's' with each sample"):
        prepare(fixed, {**x, "s": x["s"][:1]})


def test_one_row_comes_out_whatever_goes_in(save_onnx: Callable[..., Path]) -> None:
    assert xgraph.load(save_onnx(mixed(second=["batch", 1], output=[1, 3], shape=[1, 3])), verify=False).batch == 1


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (mixed(second=["batch", 1], output=[2, 3], shape=[2, 3]), "first axis of output 'y' has size 2 and .* batch"),
        (mixed(second=[2, 1], output=["batch", 3]), "input 's' has a first axis of fixed size 2 and 'x' has batch"),
    ],
    ids=["output", "input"],
)
def test_first_axes_that_count_no_samples(save_onnx: Callable[..., Path], proto: onnx.ModelProto, message: str) -> None:
    model = xgraph.load(save_onnx(proto), verify=False)
    with pytest.raises(InputError, match=message):
        prepare(model, {"x": np.ones((2, 4), np.float32), "s": np.ones((2, 1), np.float32)})
