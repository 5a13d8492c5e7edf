"""Figures: what is drawn where, for arrays of every rank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xgraph.errors import InputError
from xgraph.render import draw, gallery, html, save_png
from xgraph.render.overlay import OF_MANY, fit, overlay, panel_size
from xgraph.render.palette import palette
from xgraph.render.panel import GAP, MARGIN, Panel, sheet
from xgraph.render.picture import caption, headline, panel, patches, to_map, tokens_of
from xgraph.render.presets import PRESETS
from xgraph.render.scale import Range
from xgraph.render.table import bar_picture
from xgraph.render.text import font, number, shorten
from xgraph.render.tokens import token_html, token_picture
from xgraph.result import Attribution, Provenance, ResolvedTarget

CAT = np.random.default_rng(3).integers(0, 256, (16, 24, 3), dtype=np.uint8)


METHODS = {"gradient": "sensitivity", "lrp": "attribution", "grad_cam": "cam"}


def make(values: Any, method: str = "lrp", label: str = "cat", **fields: Any) -> Attribution:
    fields.setdefault("kind", METHODS[method])
    array = np.asarray(values, np.float32)
    count = len(array)
    return Attribution(
        values={"image": array},
        target=ResolvedTarget(kind="top", labels=(label,) * count, classes=np.zeros(count, np.int64)),
        scores=np.arange(count),
        method=method,
        provenance=Provenance(model_digest="0", opset=18),
        **fields,
    )


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((224, 224), (320, 320)),
        ((28, 28), (308, 308)),
        ((7, 14), (161, 322)),
        ((400, 300), (400, 300)),
        ((3000, 1500), (768, 384)),
        ((1, 4000), (24, 768)),
        ((4000, 1), (768, 24)),
    ],
)
def test_panels_have_a_readable_size(shape: tuple[int, int], want: tuple[int, int]) -> None:
    assert panel_size(*shape) == want


def test_a_picture_of_many_is_kept_smaller() -> None:
    assert panel_size(1080, 1920, OF_MANY) == (225, 400)


def test_small_pictures_stay_squares_and_coarse_maps_become_smooth() -> None:
    coarse = np.array([[0.0, 1.0]], np.float32)
    assert set(fit(coarse, (4, 8)).ravel().tolist()) == {0.0, 1.0}
    smooth = fit(coarse, (4, 8), smooth=True)
    np.testing.assert_allclose(smooth[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    assert fit(np.ones((8, 8), np.float32), (2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_overlay_shows_grey_where_a_signed_map_is_zero() -> None:
    values = np.zeros((16, 24), np.float32)
    values[0, 0], values[0, 1] = 1.0, -1.0
    out = overlay(CAT, values, Range(-1.0, 1.0), PRESETS["attribution"]).astype(int)
    grey = 255 - (255 - CAT.mean(axis=2)) * 0.5
    assert np.abs(out[1:] - grey[1:, :, None]).max() <= 1
    assert out[0, 0, 0] > out[0, 0, 2] + 80
    assert out[0, 1, 2] > out[0, 1, 0] + 50


def test_overlay_tints_more_where_a_map_is_larger() -> None:
    values = np.array([[0.0, 1.0]], np.float32)
    white = np.full((1, 2, 3), 255, np.uint8)
    style = PRESETS["cam"]
    out = overlay(white, values, Range(0.0, 1.0), style).astype(int)
    ends = palette(style.palette)(values[0])
    for pixel, end, opacity in zip(out[0], ends, (0.25 * style.opacity, style.opacity), strict=True):
        np.testing.assert_allclose(pixel, 255 * (1 - opacity) + end * opacity, atol=0.51)


def test_a_picture_under_a_cam_loses_its_colours_unless_it_is_tinted() -> None:
    red = np.array([[[255, 0, 0]]], np.uint8)
    values = np.zeros((1, 1), np.float32)  # black, at a quarter of the opacity
    grey = overlay(red, values, Range(0.0, 1.0), replace(PRESETS["cam"], opacity=1.0))
    tint = overlay(red, values, Range(0.0, 1.0), replace(PRESETS["cam"], opacity=1.0, blend="tint"))
    assert np.ptp(grey.astype(int)) <= 1
    assert tint[0, 0].tolist() == [191, 0, 1]


@pytest.mark.parametrize(
    ("kind", "values", "want"),
    [
        ("attribution", [[-2.0, 0.0, 2.0, 1.0]], [[0, 0, 76], [255, 255, 255], [128, 0, 0], [255, 0, 0]]),
        ("sensitivity", [[-2.0, 0.0, 2.0, 1.0]], [[255] * 3, [0] * 3, [255] * 3, [128] * 3]),
        ("cam", [[1.0, 3.0]], [[0, 0, 4], [252, 255, 164]]),
    ],
)
def test_colours_at_zero_and_at_the_ends(kind: Any, values: Any, want: Any) -> None:
    picture = np.asarray(panel(make([values], kind=kind), 0, None, None).picture)
    side = picture.shape[1] // len(values[0])
    assert picture[side // 2, side // 2 :: side].tolist() == want


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((4, 5), (4, 5)),
        ((3, 4, 5), (4, 5)),
        ((9, 8, 3), (9, 8)),
        ((2, 3, 4, 5), (4, 5)),
        ((6, 2, 3, 4, 5), (4, 5)),
        ((64, 4, 4), (4, 4)),
    ],
)
def test_any_rank_becomes_a_map(shape: tuple[int, ...], want: tuple[int, int]) -> None:
    values = np.ones(shape, np.float32)
    out = to_map(values, PRESETS["attribution"])
    assert out.shape == want
    assert out[0, 0] == pytest.approx(values.size / (want[0] * want[1]))


@pytest.mark.parametrize("shape", [(), (6,), (40,), (7, 7), (3, 8, 8), (2, 3, 8, 8), (1, 1, 1)])
@pytest.mark.parametrize("method", ["gradient", "lrp", "grad_cam"])
@pytest.mark.parametrize("image", [None, CAT], ids=["bare", "image"])
def test_every_rank_can_be_drawn_and_stays_raw(shape: tuple[int, ...], method: str, image: Any) -> None:
    attribution = make(normal(2, *shape), method)
    before = attribution.values["image"].copy()
    picture = draw(attribution, 1, image)
    assert picture.mode == "RGB"
    assert min(picture.size) > 50
    np.testing.assert_array_equal(attribution.values["image"], before)


@pytest.mark.parametrize("values", [np.zeros((1, 4, 4)), np.full((1, 4, 4), 2.5), np.full((1, 5), 0.0)])
@pytest.mark.parametrize("method", ["gradient", "lrp", "grad_cam"])
def test_constant_maps_can_be_drawn(values: np.ndarray, method: str) -> None:
    draw(make(values, method), image=CAT)


def test_a_zero_map_without_a_picture_is_white() -> None:
    picture = np.asarray(panel(make(np.zeros((1, 4, 4))), 0, None, None).picture)
    assert (picture == 255).all()


def test_a_sensitivity_stands_beside_its_picture() -> None:
    alone = draw(make(normal(1, 16, 24), "gradient"))
    beside = draw(make(normal(1, 16, 24), "gradient"), image=CAT)
    assert beside.width == alone.width + panel_size(16, 24)[1] + GAP
    assert draw(make(normal(1, 16, 24)), image=CAT, beside=True).width == beside.width + (
        draw(make(normal(1, 16, 24)), image=CAT).width - alone.width
    )


def test_a_style_can_be_chosen() -> None:
    attribution = make(normal(1, 4, 4))
    assert draw(attribution, style="cam").tobytes() != draw(attribution).tobytes()
    with pytest.raises(InputError, match="preset 'jet'"):
        draw(attribution, style="jet")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"row": 2}, "row 2 does not exist; the attribution has 2 rows"),
        ({"name": "imgae"}, "no values of 'imgae'; there are image; did you mean 'image'"),
        ({"image": CAT.astype(np.float32)}, "image must be uint8"),
        ({"image": CAT[..., :2]}, "image must be uint8"),
    ],
)
def test_bad_requests_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        draw(make(normal(2, 4, 4)), **arguments)


def test_a_gallery_has_one_panel_per_method_and_the_input() -> None:
    parts = [make(normal(1, 16, 24), name) for name in ("gradient", "lrp", "grad_cam")]
    one, four = gallery(parts[:1], 0, CAT), gallery(parts, 0, CAT)
    assert four.width > one.width
    assert gallery(parts, 0, CAT, columns=2).height > four.height
    assert gallery(parts, 0).width < four.width
    with pytest.raises(InputError, match="at least one"):
        gallery([])


def test_a_gallery_says_different_targets_under_each_panel() -> None:
    cat, dog = make(normal(1, 16, 24)), make(normal(1, 16, 24), label="dog")
    same, different = gallery([cat, cat], 0, CAT), gallery([cat, dog], 0, CAT)
    assert same.height != different.height


def test_six_methods_and_the_input_take_two_rows() -> None:
    def size(count: int) -> tuple[int, int]:
        return gallery([make(normal(1, 16, 24))] * count, 0, CAT).size

    assert size(4)[1] == size(1)[1]
    assert size(6)[0] < size(4)[0]
    assert size(6)[1] > size(4)[1]
    assert size(6)[0] == size(7)[0]


def test_a_gallery_says_prediction_score_and_probability() -> None:
    attribution = make(normal(2, 4, 4), details={"probability": np.array([0.5, 0.25])})
    assert caption(attribution, 1) == ("cat", " (logit 1, probability 0.25)")
    assert caption(make(normal(2, 4, 4)), 1) == ("cat", " (logit 1)")


def test_a_wrapped_method_is_named_and_drawn_as_what_it_wraps() -> None:
    wrapped = make(normal(1, 4, 4), "gradient", kind="cam", parameters={"base": "grad_cam"})
    assert headline(wrapped) == "Gradient of Grad-CAM"
    assert headline(make(normal(1, 4, 4), "gradient", parameters={"base": "gradient"})) == "Gradient"
    cam = make(wrapped.values["image"], "grad_cam")
    assert panel(wrapped, 0, CAT, None).picture.tobytes() == panel(cam, 0, CAT, None).picture.tobytes()


def test_texts_grow_with_the_picture_and_widen_narrow_panels() -> None:
    small = panel(make(normal(1, 64, 64)), 0, None, None)
    large = panel(make(normal(1, 1080, 1920)), 0, None, None)
    assert (small.scale, large.scale) == (1.0, 768 / 400)
    narrow = Panel(Image.new("RGB", (24, 300), "red"), heading="Integrated Gradients", line="a label", tail=" (1)")
    needed = font(16, bold=True).getlength(narrow.heading)
    assert sheet([narrow]).width >= needed + 2 * MARGIN


@pytest.mark.parametrize(("count", "first"), [(12, 0), (13, 1)])
def test_values_at_patches_are_put_on_their_grid(count: int, first: int) -> None:
    values = np.arange(count * 2.0).reshape(count, 2)
    grid = patches(values, 300, 400)
    assert grid.shape == (2, 3, 4)
    np.testing.assert_array_equal(grid[:, 0, 1], values[first + 1])
    assert patches(values, count, 2) is values
    assert patches(values[:7], 300, 400).ndim == 2


def test_a_sheet_places_panels_on_a_grid() -> None:
    red = Panel(Image.new("RGB", (10, 6), "red"))
    picture = sheet([red] * 3, columns=2)
    assert picture.size == (2 * MARGIN + 20 + GAP, 2 * MARGIN + 12 + GAP)
    pixels = np.asarray(picture)
    assert (pixels == [255, 0, 0]).all(axis=2).sum() == 3 * 60
    assert pixels[MARGIN, MARGIN + 10 + GAP].tolist() == [255, 0, 0]


def test_tokens_are_escaped_and_signed() -> None:
    text = token_html(["<script>", "a & b", "no"], np.array([1.0, -1.0, 0.0]))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "a &amp; b" in text
    assert "rgb(255,0,0)" in text
    assert "rgb(0,0,255)" in text
    assert "rgb(255,255,255)" in text
    with pytest.raises(InputError, match="1 tokens but values of shape"):
        token_html(["a"], np.zeros(2))


def test_tokens_wrap_into_lines() -> None:
    one, _ = token_picture(["word"] * 3, np.zeros(3))
    back, _ = token_picture(["שלום", "x"], np.array([1.0, -1.0]))
    assert np.asarray(back)[12, 2].tolist() == [255, 255, 255]
    assert np.asarray(back)[12, -3].tolist() == [255, 0, 0]
    many, _ = token_picture(["word"] * 60, np.zeros(60))
    assert many.height > one.height
    assert many.width <= 640


@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_tokens_are_drawn_as_words_and_embeddings_summed(shape: tuple[int, ...]) -> None:
    attribution = make(normal(1, *shape), details={"tokens": [["a", "b<", "c"]]})
    assert "b&lt;" in html(attribution)
    assert draw(attribution).width > 200


def test_a_sensitivity_of_embeddings_is_their_norm() -> None:
    attribution = make([[[3.0, -4.0]]], "gradient", details={"token_ids": np.array([[7]])})
    found = tokens_of(attribution, 0, attribution.values["image"][0])
    assert found is not None
    assert (found[0], found[1].tolist()) == (["7"], [5.0])


def test_tokens_that_do_not_fit_are_left_alone() -> None:
    attribution = make(normal(1, 3, 5), details={"tokens": [["a", "b"]]})
    assert tokens_of(attribution, 0, attribution.values["image"][0]) is None


def test_bars_show_the_largest_and_sum_up_the_rest() -> None:
    values = np.arange(30.0) - 10.0
    names = [f"n{i}" for i in range(30)]
    assert bar_picture(values, names, most=5).height == 6 * 24
    assert bar_picture(values[:5], names[:5], most=5).height == 5 * 24
    bar_picture(values[:0], [])


def test_feature_names_come_from_the_shared_details() -> None:
    values = normal(1, 2)
    named = draw(make(values, details={"shared": {"features": ["age", "income per year"]}}))
    assert named.width > draw(make(values)).width


def test_html_of_tokens_takes_any_direction_and_shows_blanks() -> None:
    text = token_html(["", " ", "\n", "\x1b[2J", "\u202eabc", "مرحبا"], np.zeros(6))
    assert '<div dir="auto"' in text
    assert text.count("unicode-bidi:plaintext") == 6
    for seen in (">∅<", ">␣<", ">⏎<", ">\ufffd[2J<", ">\ufffdabc<", ">مرحبا<"):
        assert seen in text


def test_html_of_a_table_has_names_and_numbers_to_copy() -> None:
    text = html(make([[1.0, -2.0]], details={"shared": {"features": ["<script>", "age"]}}))
    assert "&lt;script&gt;" in text
    assert text.index("age") < text.index("&lt;script&gt;")
    assert "−2" in text
    assert "<img" not in text


def test_html_takes_a_picture_per_row() -> None:
    attribution = make(normal(2, 4, 4))
    assert html(attribution, [CAT, CAT]) != html(attribution)
    with pytest.raises(InputError, match="1 images for 2 rows"):
        html(attribution, [CAT])


def test_html_shows_checks_and_stops_after_eight_rows() -> None:
    text = html(make(normal(10, 4, 4), label="<b>", checks={"completeness_gap": np.full(10, 0.25)}))
    assert text.count("<img") == 8
    assert "2 more rows" in text
    assert "<b><b>" not in text
    assert "&lt;b&gt;" in text
    assert "completeness gap 0.25" in text


def test_texts_are_shortened_before_their_tail() -> None:
    face = font(13)
    assert shorten("short", face, 500, " (1)") == "short (1)"
    cut = shorten("a very long label of a class", face, 120, " (1)")
    assert cut.endswith("… (1)")
    assert face.getlength(cut) <= 120


@pytest.mark.parametrize(
    ("value", "want"),
    [(0.0, "0"), (-0.0, "0"), (-1.5, "−1.5"), (1e-9, "1e−9"), (123456.0, "1.23e5"), (0.1, "0.1")],
)
def test_numbers_are_short(value: float, want: str) -> None:
    assert number(value) == want


def test_labels_in_any_script_are_drawn() -> None:
    draw(make(normal(1, 4, 4), label="埃及猫"))


def test_png_is_written_whole(tmp_path: Path) -> None:
    path = save_png(draw(make(normal(1, 4, 4))), tmp_path / "deep" / "a.png")
    with Image.open(path) as stored:
        assert stored.format == "PNG"
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(InputError, match="cannot write it"):
        save_png(Image.new("RGB", (2, 2)), blocker / "a.png")
