"""Do explanations point at the evidence? The zoo's models on held-out data whose evidence is known.

    python bench/localisation.py --images 500 --reviews 500 --json localisation.json --readme README.md

For each method: the pointing game (is the most relevant place evidence?), the share of positive relevance on the
evidence, and the area under the ROC curve, beside what a uniform map would have. ``--readme`` writes the tables
between the markers in that file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import xgraph
from xgraph.evaluate import inside_mass, pointing_game, ranking_auc, relevance

sys.path.insert(0, str(Path(__file__).parent / "zoo"))

import reviews
import shapes

SEED = 11
"""Of the held-out samples; training and test used others."""
IMAGE_METHODS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("gradient", {}),
    ("input_x_gradient", {}),
    ("smooth_grad", {"samples": 25}),
    ("integrated_gradients", {"steps": 32}),
    ("gradient_shap", {"samples": 25, "baseline": "blur"}),
    ("grad_cam", {}),
    ("grad_cam_plus_plus", {}),
    ("layer_cam", {}),
    ("cam", {}),
    ("occlusion", {}),
    ("feature_ablation", {}),
    ("lime", {"samples": 500}),
    ("norm_lime", {"samples": 500}),
    ("g_lime", {"samples": 500}),
    ("kernel_shap", {"samples": 500}),
    ("shapley_sampling", {"samples": 10}),
    ("rise", {"samples": 1000}),
    ("score_cam", {}),
    ("recipro_cam", {}),
)
TOKEN_METHODS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("gradient", {}),
    ("input_x_gradient", {}),
    ("smooth_grad", {"samples": 25}),
    ("integrated_gradients", {"steps": 32}),
    ("gradient_shap", {"samples": 25}),
    ("occlusion", {}),
    ("lime", {"samples": 500}),
    ("norm_lime", {"samples": 500}),
    ("g_lime", {"samples": 500}),
    ("kernel_shap", {"samples": 500}),
    ("shapley_sampling", {"samples": 10}),
    ("rise", {"samples": 1000}),
)
MASKED = {info.name for info in xgraph.list_methods() if info.needs == "forward"}
"""Methods that run a model hundreds of times per sample; they get the first of the samples only."""
Row = dict[str, float | str]


NEAR = 4
"""Pixels: half a cell of the CNN's last maps, which are 8 x 8 over 64 x 64."""


def score(name: str, values: np.ndarray, evidence: np.ndarray, seconds: float) -> Row:
    """Returns one row of a table; tokens are hit or not, pictures may also be hit nearly."""
    near = pointing_game(values, evidence, NEAR).mean() if values.ndim == 3 else float("nan")
    return {
        "method": name,
        "pointing": float(pointing_game(values, evidence).mean()),
        "near": float(near),
        "mass": float(np.nanmean(inside_mass(values, evidence))),
        "auc": float(np.nanmean(ranking_auc(values, evidence))),
        "ms": seconds * 1e3 / len(values),
    }


def chance(evidence: np.ndarray) -> Row:
    """Returns the row of a map that says nothing."""
    middle = np.random.default_rng(0).random(evidence.shape)
    return score("chance", middle, evidence, 0.0)


def image_table(model: xgraph.Model, count: int, masked: int) -> tuple[list[Row], float]:
    """Returns the rows of an image model, and the median completeness gap of integrated gradients."""
    assert model.preprocess is not None
    pictures, labels, masks = shapes.make(SEED, count)
    x = model.preprocess(pictures)
    rows, gap = [], float("nan")
    for name, parameters in IMAGE_METHODS:
        try:
            own = slice(masked if name in MASKED else None)
            start = perf_counter()
            result = xgraph.explain(model, x[own], name, target=list(labels[own]), **parameters)
            seconds = perf_counter() - start
        except xgraph.XGraphError as error:
            print(f"  {name}: {error}", file=sys.stderr)
            continue
        rows.append(score(name, relevance(result, masks.shape[1:]), masks[own], seconds))
        print(f"  {name}: {rows[-1]['pointing']:.1%}, {seconds:.0f} s", file=sys.stderr, flush=True)
        if name == "integrated_gradients":
            checks = result.checks
            gap = float(np.median(checks["completeness_gap"] / np.abs(checks["score_difference"])))
    return [chance(masks), *rows], gap


def token_table(model: xgraph.Model, count: int, masked: int) -> list[Row]:
    """Returns the rows of the review model; padding and special tokens count as no evidence."""
    ids, mask, labels, evidence = reviews.make(SEED, count)
    feeds = {"ids": ids, "mask": mask}
    rows = [chance(evidence)]
    for name, parameters in TOKEN_METHODS:
        own = slice(masked if name in MASKED else None)
        x = {key: array[own] for key, array in feeds.items()}
        start = perf_counter()
        result = xgraph.explain(model, x, name, target=list(labels[own]), **parameters)
        rows.append(score(name, relevance(result), evidence[own], perf_counter() - start))
    return rows


def markdown(title: str, rows: Sequence[Row]) -> str:
    """Returns a table."""
    pictures = not np.isnan(float(rows[0]["near"]))
    near = f" within {NEAR} pixels |" if pictures else ""
    head = f"| method | pointing game |{near} mass on evidence | ROC AUC | ms per sample |"
    lines = [f"**{title}**", "", head, "|---" * (head.count("|") - 1) + "|"]
    for row in rows:
        name = f"`{row['method']}`" if row["ms"] else "*uniform noise*"
        name += " †" if row["method"] in MASKED else ""
        near = f" {row['near']:.1%} |" if pictures else ""
        time = f"{row['ms']:.1f}" if row["ms"] else "-"
        lines.append(f"| {name} | {row['pointing']:.1%} |{near} {row['mass']:.1%} | {row['auc']:.3f} | {time} |")
    return "\n".join(lines)


def write_readme(path: Path, text: str) -> None:
    """Puts the tables between the markers."""
    begin, end = "<!-- localisation -->", "<!-- /localisation -->"
    whole = path.read_text()
    head, _, rest = whole.partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def main() -> None:
    """Runs all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--reviews", type=int, default=500)
    parser.add_argument("--masked", type=int, default=100, help="how many of them for methods that mask")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", type=Path)
    arguments = parser.parse_args()
    data = Path(str(files("xgraph") / "data"))
    tables: dict[str, list[Row]] = {}
    for title, name in (("shapes, CNN", "shapes_cnn"), ("shapes, ViT", "shapes_vit")):
        model = xgraph.load(data / name / f"{name}.onnx")
        key = f"{title}: {arguments.images} held-out images"
        tables[key], gap = image_table(model, arguments.images, arguments.masked)
        print(f"{title}: median completeness gap of integrated gradients, 32 steps: {gap:.2%}")
    model = xgraph.load(data / "reviews_bert" / "reviews_bert.onnx")
    key = f"reviews, BERT: {arguments.reviews} held-out reviews"
    tables[key] = token_table(model, arguments.reviews, arguments.masked)
    text = "\n\n".join(markdown(title, rows) for title, rows in tables.items())
    text += f"\n\n† on the first {arguments.masked} of them."
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=1))
    if arguments.readme:
        write_readme(arguments.readme, text)


if __name__ == "__main__":
    main()
