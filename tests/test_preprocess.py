"""Preprocessing against literal formulas, and the files of Paddle's suites."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xgraph.errors import InputError
from xgraph.preprocess import Preprocess, is_image, load_image, read_labels
from xgraph.resample import resize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CLAS = """
Global:
  infer_imgs: "./images/ILSVRC2012_val_00000010.jpeg"
  batch_size: 1
PreProcess:
  transform_ops:
    - ResizeImage:
        resize_short: 256
    - CropImage:
        size: 224
    - NormalizeImage:
        scale: 1.0/255.0
        mean: [0.485, 0.456, 0.406]
        std: [0.229, 0.224, 0.225]
        order: ''
        channel_num: 3
    - ToCHWImage:
    - KeepKeys:
        keep_keys: [image]
PostProcess:
  main_indicator: Topk
  Topk:
    topk: 5
    class_id_map_file: "../ppcls/utils/label_list.txt"
"""
DETECTION = """
mode: paddle
draw_threshold: 0.5
metric: COCO
use_dynamic_shape: false
arch: YOLO
min_subgraph_size: 3
Preprocess:
- interp: 2
  keep_ratio: false
  target_size:
  - 320
  - 640
  type: Resize
- is_scale: true
  mean: [0.0, 0.0, 0.0]
  norm_type: none
  std: [1.0, 1.0, 1.0]
  type: NormalizeImage
- type: Permute
label_list:
- person
- bicycle
"""
SEG = """
Deploy:
  input_shape: [-1, 3, 192, 256]
  model: model.pdmodel
  output_op: argmax
  params: model.pdiparams
  transforms:
  - target_size: [256, 192]
    type: Resize
  - type: Normalize
"""


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def written(folder: Path, text: str, name: str = "inference.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def clas(*operators: str) -> str:
    return "PreProcess:\n  transform_ops:\n" + "".join(f"    - {operator}\n" for operator in operators)


def test_normalisation_is_the_formula_in_nchw() -> None:
    images = np.stack([picture(5, 7, 0), picture(5, 7, 1)])
    out = Preprocess(mean=MEAN, std=STD)(images)
    assert out.shape == (2, 3, 5, 7)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    for n, c, i, j in [(0, 0, 0, 0), (1, 2, 4, 6), (0, 1, 3, 2)]:
        assert out[n, c, i, j] == pytest.approx((images[n, i, j, c] / 255 - MEAN[c]) / STD[c], rel=1e-5)


def test_bgr_reverses_the_channels_before_the_mean() -> None:
    image = picture(2, 2)
    out = Preprocess(channels="BGR", scale=1.0, mean=(104.0, 117.0, 123.0), layout="NHWC")(image)
    np.testing.assert_array_equal(out[0], image[..., ::-1].astype(np.float32) - [104, 117, 123])


def test_luma_is_one_rounded_channel() -> None:
    image = picture(3, 4)
    out = Preprocess(channels="L", scale=1.0)(image)
    want = np.rint(0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2])
    assert out.shape == (1, 1, 3, 4)
    np.testing.assert_array_equal(out[0, 0], want)


def test_short_side_and_crop_are_centred() -> None:
    image = picture(40, 61)
    view = Preprocess(resize_short=20, crop=(15, 18))(image)
    resized = resize(image, (20, round(61 * 20 / 40)))  # 30.5 rounds to the even 30, as in PaddleClas
    np.testing.assert_allclose(view[0] * 255, resized[2:17, 6:24].transpose(2, 0, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "want"),
    [((100, 200), (40, 80)), ((200, 100), (80, 40)), ((100, 400), (20, 80)), ((80, 80), (40, 40))],
)
def test_keep_ratio_fits_both_orientations(shape: tuple[int, int], want: tuple[int, int]) -> None:
    spec = Preprocess(size=(40, 80), keep_ratio=True)
    assert spec.view(picture(*shape)).shape == (*want, 3)


def test_pictures_of_all_kinds_become_one_batch() -> None:
    spec = Preprocess(size=(6, 8))
    arrays = [picture(5, 7), picture(30, 20), picture(6, 8)[..., 0]]
    batch = spec([*arrays, Image.fromarray(arrays[0])])
    assert batch.shape == (4, 3, 6, 8)
    np.testing.assert_array_equal(batch[0], batch[3])
    np.testing.assert_array_equal(batch[1], spec(arrays[1])[0])
    np.testing.assert_array_equal(batch[2, 0], batch[2, 2])
    np.testing.assert_array_equal(spec(Image.fromarray(arrays[0])), batch[:1])


def test_antialias_is_pillow() -> None:
    image = picture(33, 47)
    want = np.asarray(Image.fromarray(image).resize((9, 7), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(Preprocess(size=(7, 9), interpolation="bicubic", antialias=True).view(image), want)


def test_view_is_a_copy_without_normalisation() -> None:
    image = picture(4, 4)
    view = Preprocess(mean=MEAN, std=STD, channels="BGR").view(image)
    np.testing.assert_array_equal(view, image)
    view[:] = 0
    assert image.any()


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((4, 4, 3), np.float32), "must be uint8, not float32"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(H, W, 3\), not \(4, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no picture"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], "pictures 0 and 1 become"),
        (np.zeros((2, 9, 3), np.uint8), "crop of 3 x 3 is larger than the picture of 2 x 9"),
    ],
)
def test_unfit_pictures_are_refused(images: Any, says: str) -> None:
    spec = Preprocess(crop=(3, 3)) if "crop" in says else Preprocess()
    with pytest.raises(InputError, match=says):
        spec(images)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"size": (224,)}, "size"),
        ({"size": (0, 4)}, "size 0"),
        ({"crop": (1.5, 4)}, "crop 1.5"),
        ({"size": (4, 4), "resize_short": 4}, "exclude each other"),
        ({"keep_ratio": True}, "keep_ratio needs a size"),
        ({"interpolation": "bilinaer"}, "did you mean 'bilinear'"),
        ({"channels": "CMYK"}, "channels 'CMYK'"),
        ({"layout": "CHW"}, "layout 'CHW'"),
        ({"mean": (1, 2)}, "mean has 2 numbers; RGB needs 1 or 3"),
        ({"std": (1, 0, 1)}, "must not be 0"),
        ({"scale": float("nan")}, "scale"),
        ({"mean": ("a",)}, "is not numbers"),
    ],
)
def test_bad_fields_are_named_in_one_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Preprocess(**fields)
    assert "\n" not in str(caught.value)


def test_json_round_trip() -> None:
    spec = Preprocess(resize_short=256, crop=(224, 224), mean=MEAN, std=STD, labels=("a", "b"), antialias=True)
    assert Preprocess.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert hash(spec) == hash(Preprocess.from_json(spec.to_json()))
    with pytest.raises(InputError, match="unknown field 'sise'; did you mean 'size'"):
        Preprocess.from_json({"sise": [1, 1]})


def test_paddleclas(tmp_path: Path) -> None:
    written(tmp_path, "0 tench, Tinca tinca\n1 goldfish\n", "label_list.txt")
    spec = Preprocess.from_paddle(written(tmp_path, CLAS))
    assert spec == Preprocess(
        resize_short=256, crop=(224, 224), mean=MEAN, std=STD, labels=("tench, Tinca tinca", "goldfish")
    )
    assert spec(picture(300, 400)).shape == (1, 3, 224, 224)


def test_paddleclas_sizes_are_width_first_and_pil_filters(tmp_path: Path) -> None:
    spec = Preprocess.from_paddle(
        written(
            tmp_path,
            clas(
                "DecodeImage: {to_rgb: false, channel_first: false}",
                "ResizeImage: {size: [192, 256], interpolation: bicubic, backend: pil}",
                "NormalizeImage: {scale: 0.00392157, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}",
                "ToCHWImage: null",
            ),
        )
    )
    assert spec.size == (256, 192)
    assert (spec.interpolation, spec.antialias, spec.channels) == ("bicubic", True, "BGR")
    assert spec.scale == 0.00392157


def test_without_a_normalising_transform_pixels_go_in_raw(tmp_path: Path) -> None:
    spec = Preprocess.from_paddle(written(tmp_path, clas("ResizeImage: {size: 4}")))
    assert spec == Preprocess(size=(4, 4), scale=1.0, layout="NHWC")


def test_paddledetection(tmp_path: Path) -> None:
    spec = Preprocess.from_paddle(written(tmp_path, DETECTION, "infer_cfg.yml"))
    assert spec == Preprocess(size=(320, 640), interpolation="bicubic", labels=("person", "bicycle"))


def test_paddledetection_defaults(tmp_path: Path) -> None:
    text = (
        "Preprocess:\n- {type: Resize, target_size: 608}\n"
        f"- {{type: NormalizeImage, is_scale: false, mean: {list(MEAN)}, std: {list(STD)}}}\n"
        "- {type: PadStride, stride: 0}\n- {type: Permute}\n"
    )
    spec = Preprocess.from_paddle(written(tmp_path, text))
    assert spec == Preprocess(size=(608, 608), keep_ratio=True, scale=1.0, mean=MEAN, std=STD)


def test_paddleseg(tmp_path: Path) -> None:
    spec = Preprocess.from_paddle(written(tmp_path, SEG, "deploy.yaml"))
    assert spec == Preprocess(size=(192, 256), mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(
    ("after", "want"),
    [
        ("PostProcess:\n  Topk:\n    label_list: [cat, 7]\n", ("cat", "7")),
        (
            "PostProcess:\n  ThreshOutput: {threshold: 0.9, label_0: nobody, label_1: someone}\n",
            ("nobody", "someone"),
        ),
        ("PostProcess:\n  name: Topk\n  class_id_map_file: None\n", ()),
        ("", ()),
    ],
)
def test_labels_are_found_where_the_suites_put_them(tmp_path: Path, after: str, want: tuple[str, ...]) -> None:
    assert Preprocess.from_paddle(written(tmp_path, clas("CropImage: {size: 4}") + after)).labels == want


def test_a_missing_label_file_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Preprocess.from_paddle(written(tmp_path, CLAS)).labels == ()
    assert "label_list.txt not found" in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (clas("RandFlipImage: {flip_code: 1}"), "'RandFlipImage' cannot be reproduced"),
        (clas("ResizeImage: {size: 4, interpolation: random}"), "'ResizeImage' .*interpolation 'random'"),
        (clas("ResizeImage: {size: 4}", "ResizeImage: {size: 5}"), "sets interpolation, size again"),
        (clas("CropImage: {size: 4}", "ResizeImage: {size: 5}"), "sets size again"),
        (clas("NormalizeImage: {channel_num: 4}"), "channel_num 4"),
        (clas("NormalizeImage: {scale: __import__('os').getcwd()}"), "'NormalizeImage' cannot be reproduced"),
        ("PreProcess:\n  transform_ops: 7\n", "must be a list"),
        (
            "Preprocess:\n- {type: LetterBoxResize, target_size: 4}\n",
            "'LetterBoxResize' cannot be reproduced",
        ),
        ("Preprocess:\n- {type: PadStride, stride: 32}\n", "pads to multiples of 32"),
        ("Deploy:\n  transforms:\n  - {type: ResizeByLong, long_size: 4}\n", "'ResizeByLong'"),
        ("Global:\n  use_gpu: true\n", "no PreProcess.transform_ops"),
        ("- just\n- a list\n", "no PreProcess.transform_ops"),
        ("a: [1\n", "not YAML"),
        ("!!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line_naming_it(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Preprocess.from_paddle(written(tmp_path, text))
    assert "inference.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_beside(tmp_path: Path) -> None:
    model = tmp_path / "inference.pdmodel"
    assert Preprocess.beside(model) is None
    written(tmp_path, DETECTION, "infer_cfg.yml")
    spec = Preprocess.beside([model, tmp_path / "inference.pdiparams"])
    assert spec is not None
    assert spec.size == (320, 640)
    written(tmp_path, CLAS)
    spec = Preprocess.beside(model)
    assert spec is not None
    assert spec.resize_short == 256


def test_options_are_read_as_text_and_as_values(tmp_path: Path) -> None:
    labels = written(tmp_path, "cat\ndog\n", "labels.txt")
    spec = Preprocess.from_options(size="192x256", mean="0.5,0.5,0.5", std="0.25", layout="nhwc", labels=labels)
    assert spec == Preprocess(size=(192, 256), mean=(0.5,) * 3, std=(0.25,), layout="NHWC", labels=("cat", "dog"))
    assert Preprocess.from_options(size=224).size == Preprocess.from_options(size="224").size == (224, 224)
    assert Preprocess.from_options() == Preprocess()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": "big"}, "size 'big'"),
        ({"size": "1x2x3"}, "size '1x2x3'"),
        ({"mean": "123.7,116.3,103.5"}, "in grey levels"),
        ({"std": "a,b"}, "std 'a,b'"),
        ({"labels": "nowhere.txt"}, "nowhere.txt: cannot read labels"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Preprocess.from_options(**options)


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("l.txt", "0 tench, Tinca\n1 gold fish\n", ("tench, Tinca", "gold fish")),
        ("l.txt", "7 up\ncola\n", ("7 up", "cola")),
        ("l.txt", "猫\n狗", ("猫", "狗")),
        ("l.json", '["a", "b"]', ("a", "b")),
        ("l.json", '{"1": "b", "0": "a"}', ("a", "b")),
    ],
)
def test_label_files(tmp_path: Path, name: str, text: str, want: tuple[str, ...]) -> None:
    assert read_labels(written(tmp_path, text, name)) == want


@pytest.mark.parametrize("text", ['{"1": "a"}', "[", "3"])
def test_bad_label_json_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"l\.json: labels must be"):
        read_labels(written(tmp_path, text, "l.json"))


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> np.ndarray:
    image.save(folder / name, **options)
    return load_image(folder / name)


def test_pictures_of_every_mode_become_rgb(tmp_path: Path) -> None:
    pixels = picture(4, 6)
    rgb = Image.fromarray(pixels)
    np.testing.assert_array_equal(saved(tmp_path, rgb, "rgb.png"), pixels)
    grey = saved(tmp_path, rgb.convert("L"), "grey.png")
    assert grey.shape == (4, 6, 3)
    assert (grey[..., 0] == grey[..., 2]).all()
    assert saved(tmp_path, rgb.convert("P"), "palette.gif").shape == (4, 6, 3)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(saved(tmp_path, deep, "deep.png")[..., 1], pixels[..., 0])
    clear = Image.fromarray(np.dstack([pixels, np.zeros((4, 6), np.uint8)]))
    assert (saved(tmp_path, clear, "clear.png") == 255).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = picture(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    turned = saved(tmp_path, Image.fromarray(pixels), "turned.png", exif=exif)
    np.testing.assert_array_equal(turned, np.rot90(pixels, -1))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_unreadable_pictures_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.png: not a readable picture") as caught:
        load_image(path)
    assert "\n" not in str(caught.value)


def test_truncated_and_missing_pictures_are_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.fromarray(picture(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"half\.png: not a readable picture"):
        load_image(path)
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        load_image(tmp_path / "none.png")


def test_images_are_known_by_their_suffix() -> None:
    assert is_image("a/B.JPEG")
    assert is_image(Path("x.png"))
    assert not is_image("x.npy")
