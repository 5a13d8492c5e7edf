"""Fixtures that several rooms share: small models on disk, and a user cache of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import builders
import numpy as np
import onnx
import pytest

if TYPE_CHECKING:
    from xgraph.model import Model


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps tests away from the user's cache, child processes included."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def save_onnx(tmp_path_factory: pytest.TempPathFactory) -> Callable[[onnx.ModelProto, str], Path]:
    """Writes a model to a folder of its own."""

    def save(model: onnx.ModelProto, name: str = "model") -> Path:
        path = tmp_path_factory.mktemp(name) / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.fixture(scope="session")
def load_proto(save_onnx: Callable[..., Path]) -> Callable[[onnx.ModelProto], Model]:
    """Returns what ``xgraph.load`` makes of a model."""
    import xgraph

    return lambda proto: xgraph.load(save_onnx(proto))


@pytest.fixture(scope="session")
def tiny_onnx(save_onnx: Callable[..., Path]) -> Path:
    """The tiny CNN with a Softmax, as a file."""
    return save_onnx(builders.tiny_cnn(), "tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_onnx: Path) -> Model:
    import xgraph

    return xgraph.load(tiny_onnx)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny CNN compiled as ``xgraph compile`` does it. Read only."""
    import xgraph
    from xgraph.bundle import write_bundle

    path = tmp_path_factory.mktemp("bundle") / "tiny.xgraph"
    return write_bundle(tiny_model, [xgraph.compile(tiny_model, "gradient")], path)


@pytest.fixture
def images() -> np.ndarray:
    """Seven samples for the tiny CNN."""
    shape = (7, 3, builders.SIZE, builders.SIZE)
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)
