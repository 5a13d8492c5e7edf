"""The cases of bench/black_box.py: one method each, xgraph and its peers on the same model, input and sample count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from black_box_entries import Call, Child, Entry, Forward, Ours, Values, correlation, distance, python_of
from resnet50_gradient import resnet50
from torch import nn

import xgraph
from xgraph.errors import MethodError
from xgraph.preprocess import Preprocess
from xgraph.runtime.providers import Provider

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WINDOW, STRIDE = 16, 8
BATCH = 64
"""Of peers whose batch size the caller sets, beside what they do by default."""
SEGMENTS = 50
"""What KernelSHAP's superpixel algorithm is asked for."""
CELLS = 8
CLOSE = 5e-3
"""How far results of the same masks may be apart: they are small differences of scores in two engines' float32."""


@dataclass(frozen=True, slots=True)
class Case:
    """One table: the first entry is xgraph, with which the others are compared."""

    title: str
    runs: int
    """Forward passes that the method asks for."""
    entries: Sequence[Entry]
    random: bool = False
    """Whether every entry draws masks of its own."""


@dataclass(slots=True)
class Setting:
    """What all cases share."""

    net: nn.Module
    model: xgraph.Model
    picture: np.ndarray
    """uint8 (1, H, W, 3)."""
    x: np.ndarray
    """float32 (1, 3, H, W): the picture as the model takes it."""
    target: int
    folder: Path
    """Holds resnet50.onnx, one_class.onnx, weights.npz, picture.npy and image.npy."""
    samples: int
    threads: int
    providers: Sequence[Provider]

    @property
    def image(self) -> np.ndarray:
        """The input as (H, W, 3)."""
        return np.ascontiguousarray(self.x[0].transpose(1, 2, 0))

    def ours(
        self,
        method: str,
        of: str,
        read: Callable[[xgraph.Attribution], np.ndarray],
        parameters: Mapping[str, Any],
        x: np.ndarray | None = None,
        variants: Sequence[tuple[str, Mapping[str, Any]]] = (("", {}),),
    ) -> Iterator[Ours | Forward]:
        """Gives xgraph's entries: on every provider, in every variant that is there, with their forward passes."""
        given = self.x if x is None else x
        for provider in self.providers:
            for suffix, more in variants:
                name = f"xgraph, {provider}{suffix}"
                merged = {**parameters, **more}
                try:
                    xgraph.compile(self.model, method, **merged)
                except MethodError as error:
                    if not more:
                        raise
                    print(f"left out: {name}: {error}")
                    continue
                entry = Ours(name, self.model, given, self.target, method, provider, self.threads, of, merged, read)
                entry.passes = not more.get("incremental", False)
                yield entry
                if entry.passes:
                    yield Forward(f"{name}: forward passes alone", entry, self.x)

    def child(self, name: str, peer: str, arguments: Sequence[object], read: Any, **options: Any) -> Child:
        """Returns an entry of a peer in its own environment."""
        return Child(name, peer, [str(a) for a in arguments], read, threads=self.threads, **options)


def make_setting(size: int, samples: int, threads: int, providers: Sequence[Provider], folder: Path) -> Setting:
    """Makes the model and the input, and exports the model once."""
    from skimage import data
    from skimage.transform import resize

    picture = np.rint(resize(data.astronaut(), (size, size), anti_aliasing=True) * 255).astype(np.uint8)[None]
    x = ((picture / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x, np.float32)
    net = calibrated(resnet50(), torch.from_numpy(x))
    with torch.no_grad():
        target = int(net(torch.from_numpy(x)).argmax())
    path = folder / "resnet50.onnx"
    export(net, x, path)
    export(nn.Sequential(net, Column(target)).eval(), x, folder / "one_class.onnx")
    arrays = [value.numpy() for name, value in net.state_dict().items() if "num_batches" not in name]
    np.savez(folder / "weights.npz", **{f"{i:04}": array for i, array in enumerate(arrays)})
    np.save(folder / "picture.npy", picture)
    np.save(folder / "image.npy", x[0])
    model = xgraph.load(path, preprocess=Preprocess(mean=MEAN, std=STD))
    return Setting(net, model, picture, x, target, folder, samples, threads, providers)


class Column(nn.Module):
    """One class of many."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, classes) -> (N, 1)."""
        return logits[:, self.index : self.index + 1]


def calibrated(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """Sets the statistics of BatchNormalization to those of the picture, so that activations keep their scale."""
    views = torch.cat([x, x.flip(3), x.flip(2), x.roll(x.shape[3] // 3, 3)])
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(views)
    return net.eval()


def export(net: nn.Module, x: np.ndarray, path: Path) -> None:
    """Writes an ONNX file of any batch size."""
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
    names = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(
        net, (torch.from_numpy(x),), str(path), dynamic_axes=axes, dynamo=False, opset_version=17, **names
    )


def in_torch(setting: Setting) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the model as a function of (N, H, W, 3) that gives probabilities."""

    def classify(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
            return torch.softmax(setting.net(batch), 1).numpy()

    return classify


def in_onnxruntime(setting: Setting) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the same on a session that is kept."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    path = str(setting.folder / "resnet50.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def classify(images: np.ndarray) -> np.ndarray:
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        logits = session.run(["logits"], {"image": batch})[0]
        grown = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))

    return classify


def coefficients(found: xgraph.Attribution) -> np.ndarray:
    """Returns what the features of the only sample got."""
    return np.asarray(found.details["coefficients"][0], np.float64)


def pixels(found: xgraph.Attribution) -> np.ndarray:
    """Returns the map of the only sample."""
    return np.asarray(found.values["image"][0], np.float64)


def lime(setting: Setting) -> Iterator[Case]:
    """LIME on one label map and one design: the package ``lime``, and InterpretDL with its own superpixels."""
    from lime.lime_image import LimeImageExplainer
    from lime.wrappers.scikit_image import SegmentationAlgorithm

    algorithm = SegmentationAlgorithm("quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=0)
    labels = algorithm(setting.picture[0])
    count, seed = len(np.unique(labels)), 7

    def explain(classify: Callable[[np.ndarray], np.ndarray], batch: int, samples: int) -> np.ndarray:
        explainer = LimeImageExplainer(random_state=np.random.RandomState(seed))
        found = explainer.explain_instance(
            setting.image,
            classify,
            labels=(setting.target,),
            top_labels=None,
            num_samples=samples,
            batch_size=batch,
            segmentation_fn=lambda image: labels,
            random_seed=0,
        )
        pairs = dict(found.local_exp[setting.target])
        return np.asarray([pairs[k] for k in range(count)])

    draws = np.random.RandomState(seed).randint(0, 2, setting.samples * count)
    masks = draws.reshape(setting.samples, count)
    masks[0] = 1
    parameters = {"samples": setting.samples, "segments": labels, "masks": masks, "baseline": "segment_mean"}
    # lime selects among features before it fits; where all may stay, as they may by default, that changes nothing.
    entries: list[Entry] = [*setting.ours("lime", "probability", coefficients, parameters)]
    ways = (("PyTorch", in_torch(setting), (10, BATCH)), ("ONNX Runtime", in_onnxruntime(setting), (BATCH,)))
    for engine, classify, sizes in ways:
        for batch in sizes:
            name = f"lime, {engine}, batch {batch}" + (" (its default)" if batch == 10 else "")
            call, warm = (partial(explain, classify, batch, n) for n in (setting.samples, batch))
            entries.append(Call(name, call, warm, limit=CLOSE))
    yield Case(f"LIME, {setting.samples} samples, {count} superpixels", setting.samples, entries)
    if python_of("interpretdl").exists():
        # The model file's own spec turns the picture into its input, as InterpretDL does; superpixels are timed too.
        parameters = {"samples": setting.samples, "variant": "interpretdl"}
        ours = setting.ours("lime", "probability", coefficients, parameters, setting.picture)
        yield Case(
            f"LIME as InterpretDL defines it, {setting.samples} samples, its superpixels made in the call",
            setting.samples,
            [*ours, interpretdl(setting, "lime", 50, "coefficients")],
        )


def interpretdl(setting: Setting, method: str, batch: int, key: str, suffix: str = "") -> Child:
    """Returns InterpretDL's entry."""
    weights, picture = setting.folder / "weights.npz", setting.folder / "picture.npy"
    shared = ("--target", setting.target, "--samples", setting.samples, "--threads", setting.threads)
    sizes = ("--batch", batch, "--window", WINDOW, "--stride", STRIDE)
    return setting.child(
        f"InterpretDL, Paddle, batch {batch}{suffix}",
        "interpretdl",
        [method, weights, picture, *shared, *sizes],
        lambda found: found[key],
        limit=CLOSE,
    )


def occlusion(setting: Setting) -> Iterator[Case]:
    """Occlusion with windows that overlap: Captum in both layouts, and InterpretDL."""
    from captum.attr import Occlusion

    size = setting.x.shape[-1]
    runs = (-(-(size - WINDOW) // STRIDE) + 1) ** 2
    ways: list[tuple[str, Mapping[str, Any]]] = [("", {})]
    known = next(info.parameters for info in xgraph.list_methods() if info.name == "occlusion")
    if "incremental" in known:
        ways = [("", {"incremental": False}), (", incremental", {"incremental": True})]
    parameters = {"window": (3, WINDOW, WINDOW), "stride": (3, STRIDE, STRIDE), "baseline": "zero"}
    entries: list[Entry] = [*setting.ours("occlusion", "logit", pixels, parameters, variants=ways)]

    def attribute(net: nn.Module, x: torch.Tensor, together: int) -> np.ndarray:
        with torch.no_grad():
            found = Occlusion(net).attribute(
                x,
                target=setting.target,
                sliding_window_shapes=(3, WINDOW, WINDOW),
                strides=(3, STRIDE, STRIDE),
                baselines=0,
                perturbations_per_eval=together,
            )
        return found[0].numpy()

    x = torch.from_numpy(setting.x)
    last: nn.Module = deepcopy(setting.net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layouts = (
        ("PyTorch", setting.net, x),
        ("PyTorch channels_last", last, x.contiguous(memory_format=torch.channels_last)),
    )
    for layout, net, given in layouts:
        for together in (1, 32):
            name = f"Captum, {layout}, {together} per evaluation" + (" (its default)" if together == 1 else "")
            call = partial(attribute, net, given, together)
            entries.append(Call(name, call, partial(net, given.expand(together, -1, -1, -1)), limit=CLOSE))
    window = f"windows of {WINDOW} x {WINDOW}, stride {STRIDE}"
    yield Case(f"Occlusion, {runs} {window}", runs, entries)
    if python_of("interpretdl").exists():
        parameters = {**parameters, "variant": "interpretdl"}
        ours = setting.ours("occlusion", "probability", pixels, parameters, setting.picture, ways)
        sizes = ((1, " (its default)"), (32, ""))
        peers = [interpretdl(setting, "occlusion", batch, "map", suffix) for batch, suffix in sizes]
        yield Case(f"Occlusion as InterpretDL defines it, {runs} {window}", runs, [*ours, *peers])


def rise(setting: Setting) -> Iterator[Case]:
    """RISE: DIANNA as it is, and with its session kept. Each draws its own masks."""
    parameters = {"samples": setting.samples, "cells": (CELLS, CELLS), "probability": 0.5}
    entries: list[Entry] = [*setting.ours("rise", "logit", pixels, parameters)]
    if python_of("dianna").exists():
        files = ("rise", setting.folder / "resnet50.onnx", setting.folder / "image.npy")
        sizes = ("--target", setting.target, "--samples", setting.samples, "--cells", CELLS, "--p-keep", 0.5)
        for name, more in (("as shipped (a session for every batch)", ()), ("session kept", ("--keep-session",))):
            child = setting.child(
                f"DIANNA, ONNX Runtime, batch 100, {name}",
                "dianna",
                [*files, *sizes, *more],
                lambda found: found["map"],
                measure=_map_correlation,
                note="own masks",
            )
            entries.append(child)
    yield Case(f"RISE, {setting.samples} masks of {CELLS} x {CELLS} cells", setting.samples, entries, random=True)


def _map_correlation(theirs: Values, ours: Values) -> float:
    """Returns the correlation of one channel's maps: all channels of xgraph's are alike."""
    values = ours["values"]
    return correlation(theirs, {"values": values[0] if values.ndim == 3 and theirs["values"].ndim == 2 else values})


def kernel_shap(setting: Setting) -> Iterator[Case]:
    """KernelSHAP on one label map: the package ``shap``, and DIANNA, which calls it. Each draws its own coalitions."""
    import shap
    from skimage.segmentation import slic

    labels = slic(setting.image, n_segments=SEGMENTS, compactness=10.0, sigma=0, start_label=0)
    mean = setting.image.mean(axis=(0, 1))

    def explain(segments: np.ndarray, samples: int) -> np.ndarray:
        count = segments.max() + 1

        def score(masks: np.ndarray) -> np.ndarray:
            found = []
            for start in range(0, len(masks), BATCH):
                on = masks[start : start + BATCH, segments][..., None] != 0
                images = np.where(on, setting.image, mean).transpose(0, 3, 1, 2)
                with torch.no_grad():
                    batch = torch.from_numpy(np.ascontiguousarray(images, np.float32))
                    found.append(setting.net(batch)[:, setting.target].numpy())
            return np.concatenate(found).astype(np.float64)

        np.random.seed(0)  # noqa: NPY002 - shap draws from the global state
        explainer = shap.KernelExplainer(score, np.zeros((1, count)))
        return np.asarray(explainer.shap_values(np.ones((1, count)), nsamples=samples, l1_reg=0, silent=True)[0])

    # Where all coalitions are run, both are exact, so the results must agree; what is timed draws some of them.
    few = np.add.outer(2 * (np.arange(len(labels)) * 3 // len(labels)), np.arange(len(labels)) * 2 // len(labels))
    exact = xgraph.explain(
        setting.model,
        setting.x,
        "kernel_shap",
        setting.target,
        device="cpu",
        threads=setting.threads,
        samples=64,
        segments=few,
        baseline="mean",
    )
    gap = distance({"values": explain(few, 64)}, {"values": coefficients(exact)})
    if gap > CLOSE:
        raise SystemExit(f"KernelSHAP: exact values of 6 features are {gap:.1e} from shap's")

    count = labels.max() + 1
    parameters = {"samples": setting.samples, "segments": labels, "baseline": "mean"}
    call, warm = (partial(explain, labels, n) for n in (setting.samples, BATCH))
    entries: list[Entry] = [
        *setting.ours("kernel_shap", "logit", coefficients, parameters),
        Call(f"shap, PyTorch, batch {BATCH}", call, warm, correlation, note="own masks"),
    ]
    if python_of("dianna").exists():
        # It explains and paints every class that the model has, which takes far longer than the model: it gets a file
        # that has the one class only.
        files = ("kernel_shap", setting.folder / "one_class.onnx", setting.folder / "image.npy")
        child = setting.child(
            "DIANNA, ONNX Runtime (keeps its session)",
            "dianna",
            [*files, "--samples", setting.samples, "--segments", SEGMENTS],
            _by_label,
            measure=_hidden_correlation,
            note="own masks, 10 features at most",
        )
        entries.append(child)
    exactly = f"exact values of 6 features differ by {gap:.0e} from shap's"
    title = f"KernelSHAP, {setting.samples} samples, {count} superpixels ({exactly})"
    yield Case(title, setting.samples, entries, random=True)


def _by_label(found: Values) -> np.ndarray:
    """Returns what DIANNA found about labels 1 to K - 1.

    Its feature j hides label j, counted from 0, but labels count from 1, and it paints the value on label j + 1: that
    is where it is read. The last label is never hidden.
    """
    labels = found["segments"]
    return np.asarray([found["map"][labels == j + 1][0] for j in range(1, labels.max())])


def _hidden_correlation(theirs: Values, ours: Values) -> float:
    return correlation(theirs, {"values": ours["values"][: len(theirs["values"])]})


CASES: Mapping[str, Callable[[Setting], Iterator[Case]]] = {
    "lime": lime,
    "occlusion": occlusion,
    "rise": rise,
    "kernel_shap": kernel_shap,
}
