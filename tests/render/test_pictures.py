"""Figures: what is drawn where, for arrays of every rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xgraph.errors import InputError
from xgraph.render import draw, gallery, html, save_png
from xgraph.render.overlay import fit, overlay, panel_size
from xgraph.render.panel import GAP, MARGIN, Panel, sheet
from xgraph.render.picture import panel, to_map
from xgraph.render.presets import PRESETS
from xgraph.render.scale import Range
from xgraph.render.table import bar_picture
from xgraph.render.text import font, number, shorten
from xgraph.render.tokens import token_html, token_picture
from xgraph.result import Attribution, Provenance, ResolvedTarget

CAT = np.random.default_rng(3).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def make(values: Any, method: str = "lrp", label: str = "cat", **fields: Any) -> Attribution:
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
        ((1, 4000), (1, 768)),
    ],
)
def test_panels_have_a_readable_size(shape: tuple[int, int], want: tuple[int, int]) -> None:
    assert panel_size(*shape) == want


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
    out = overlay(white, values, Range(0.0, 1.0), PRESETS["cam"]).astype(int)
    assert out[0, 0].min() > 220
    assert out[0, 1].min() < 130


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((4, 5), (4, 5)),
        ((3, 4, 5), (4, 5)),
        ((9, 8, 3), (9, 8)),
        ((2, 3, 4, 5), (4, 5)),
        ((6, 2, 3, 4, 5), (4, 5)),
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
    many, _ = token_picture(["word"] * 60, np.zeros(60))
    assert many.height > one.height
    assert many.width <= 640


@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_tokens_are_drawn_as_words_and_embeddings_summed(shape: tuple[int, ...]) -> None:
    attribution = make(normal(1, *shape), details={"tokens": [["a", "b<", "c"]]})
    assert "b&lt;" in html(attribution)
    assert draw(attribution).width > 200


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


def test_html_shows_checks_and_stops_after_eight_rows() -> None:
    text = html(make(normal(10, 4, 4), label="<b>", checks={"completeness_gap": np.full(10, 0.25)}))
    assert text.count("<img") == 8
    assert "2 more rows" in text
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
