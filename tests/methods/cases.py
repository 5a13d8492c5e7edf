"""What is explained in which net: every kind of input and of place, with a class of its own for every row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from e2e.closeness import distance
from methods.nets import examples, net
from oracles import Site, value_range
from tolerances import FORMULA

import xgraph
from xgraph.sampling.philox import normals

Load = Callable[[str], xgraph.Model]
TARGETS = (0, 3, 1)
SEED = 5


@dataclass(frozen=True)
class Case:
    """A net, and one place in it under both names."""

    net: str
    wrt: str
    at: str
    """The torch module; empty: the input."""

    @property
    def key(self) -> str:
        """What the values of a result are called."""
        return self.wrt.partition(":")[2]

    def x(self, rows: int = 3) -> np.ndarray:
        return examples(self.net, rows).numpy()

    def site(self, of: str = "logit", targets: tuple[int, ...] = TARGETS) -> Site:
        return Site(net(self.net), examples(self.net, len(targets)), targets, of, self.at)


CASES = {
    "image": Case("cnn", "input:image", ""),
    "flat image": Case("flat", "input:image", ""),
    "layer": Case("cnn", "layer:pool", "pool"),
    "embedding": Case("tokens", "embedding:ids", "words"),
    "tabular": Case("mlp", "input:x", ""),
    "tabular layer": Case("mlp", "layer:first.1", "first.1"),
}
PLACES_AND_OF = [*((name, "logit") for name in CASES), ("flat image", "probability"), ("embedding", "loss")]
CAM_LAYERS = {
    "pooled": ("cnn", "act"),
    "stem": ("cnn", "stem.2"),
    "pool": ("cnn", "pool"),
    "flattened": ("flat", "conv.3"),
    "flattened silu": ("flat", "conv.2"),
}
"""Name -> (net, layer); both libraries call it the same."""


def noises(
    value: np.ndarray, samples: int, level: float, *, relative: bool = True, seed: int = SEED
) -> list[np.ndarray]:
    """Returns the noise of every draw, for all rows, as the sampler is documented to draw it."""
    rows = np.arange(len(value))
    scale = value_range(value) if relative else 1.0
    return [
        normals("noise", seed, rows, np.full(len(rows), k), value.shape[1:]) * level * scale for k in range(samples)
    ]


def assert_close(actual: np.ndarray, exact: np.ndarray, tolerance: float = FORMULA) -> None:
    """Asserts equality but for ``tolerance`` of the largest entry."""
    assert actual.dtype == np.float32
    found = distance(actual, exact)
    assert found <= tolerance, f"off by {found:.2e} of the largest entry"
