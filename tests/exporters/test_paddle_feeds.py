"""Made-up inputs for running a Paddle model: sizes that fit, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.exporters.paddle_child import candidate_feeds, single_precision_attributes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((-1, 3, 32, 48), (2, 3, 32, 48)),
        ((1, 3, 32, 48), (1, 3, 32, 48)),
        ((-1, 3, -1, -1), (2, 3, 224, 224)),
        ((-1, 3, 48, -1), (2, 3, 48, 224)),
        ((-1, -1, -1, 3), (2, 224, 224, 3)),
        ((-1, -1, 8), (2, 16, 8)),
        ((-1, 12, -1, -1), (2, 12, 16, 16)),
        ((-1, 1, 1, -1), (2, 1, 1, 16)),
        ((-1,), (2,)),
        ((), ()),
    ],
)
def test_dynamic_dimensions_get_sensible_sizes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    feeds = next(candidate_feeds({"x": (shape, "float32")}, {}))
    assert feeds["x"].shape == expected
    assert feeds["x"].dtype == np.float32


def test_other_sizes_follow_then_a_batch_of_one() -> None:
    shapes = [feeds["x"].shape for feeds in candidate_feeds({"x": ((-1, 3, -1, -1), "float32")}, {})]
    assert shapes[:2] == [(2, 3, 224, 224), (2, 3, 320, 320)]
    assert shapes[-1][0] == 1
    assert len(set(shapes)) == len(shapes)


def test_fixed_shapes_are_tried_once() -> None:
    assert len(list(candidate_feeds({"x": ((1, 4), "float32")}, {}))) == 1


def test_the_same_model_gets_the_same_feeds() -> None:
    declared = {"x": ((-1, 4), "float32"), "ids": ((-1, -1), "int64")}
    first, second = (next(candidate_feeds(declared, {"ids": 9})) for _ in range(2))
    for name in declared:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_ids_lie_within_their_table(rows: int) -> None:
    ids = next(candidate_feeds({"ids": ((-1, -1), "int32")}, {"ids": rows}))["ids"]
    assert ids.dtype == np.int32
    assert 0 <= ids.min() <= ids.max() < rows


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool"])
@pytest.mark.parametrize("shape", [(-1, -1), (-1, 1, 1, -1), (1, 1)])
def test_masks_are_bits_and_hide_no_whole_row(shape: tuple[int, ...], dtype: str) -> None:
    mask = next(candidate_feeds({"attention_mask": (shape, dtype)}, {}))["attention_mask"]
    assert mask.dtype == np.dtype(dtype)
    assert mask[..., 0].all()
    assert set(np.unique(mask.astype(float))) <= {0.0, 1.0}


def test_detection_inputs_describe_their_image() -> None:
    declared = {"image": ((-1, 3, -1, -1), "float32"), "im_shape": ((-1, 2), "float32")}
    feeds = next(candidate_feeds(declared | {"scale_factor": ((-1, 2), "float32")}, {}))
    assert (feeds["im_shape"] == 224).all()
    assert (feeds["scale_factor"] == 1).all()


def test_lengths_lie_within_the_sequence() -> None:
    declared = {"tokens": ((-1, -1, 6), "float32"), "seq_len": ((-1,), "int64")}
    lengths = next(candidate_feeds(declared, {}))["seq_len"]
    assert lengths.tolist() == [16, 12]


def test_only_the_tag_of_a_double_attribute_changes() -> None:
    program = '{"#":"0.a_f64","D":0.1},{"#" : "0.a_f64"},{"#":"0.t_f64"},{"#":"0.a_str","D":"0.a_f64"}'
    expected = '{"#":"0.a_f32","D":0.1},{"#" : "0.a_f32"},{"#":"0.t_f64"},{"#":"0.a_str","D":"0.a_f64"}'
    assert single_precision_attributes(program) == expected
