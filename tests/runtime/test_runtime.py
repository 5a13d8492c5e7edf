"""The runtime: batch sizes, the session cache, devices, and what the engine says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import numpy as np
import pytest

import xgraph
from xgraph.errors import InputError, ProviderError
from xgraph.graph.artifact import Artifact
from xgraph.model import Model
from xgraph.plan import Batch
from xgraph.reducing import Take
from xgraph.runtime import batches, providers, run, session
from xgraph.runtime.batches import batch_size
from xgraph.runtime.providers import Provider, choose


@pytest.mark.parametrize(
    ("pairs", "sample", "asked", "budget", "expected"),
    [
        (0, 10, None, 100, 1),
        (7, 10, None, 1000, 7),
        (7, 10, None, 40, 4),  # two batches of four and three
        (100, 1, None, 1000, 50),  # no more than 64, in equal parts
        (7, 10, None, 1, 1),  # one sample at least
        (7, 0, None, 100, 7),  # a graph whose cost is not known
        (7, 10, 3, 1, 3),
        (8, 10, 5, 1, 4),
        (2, 10, 64, 1, 2),
    ],
)
def test_batch_size(pairs: int, sample: int, asked: int | None, budget: int, expected: int) -> None:
    assert batch_size(pairs, sample, asked=asked, budget=budget) == expected


def test_the_batch_follows_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.psutil, "virtual_memory", lambda: SimpleNamespace(available=400))
    assert batch_size(50, 10) == 10


def test_the_estimate_follows_the_size_of_the_samples(
    load_proto: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dynamic axes were taken at 224 when the graph was built."""
    model = load_proto(builders.tiny_cnn(size="side"))
    asked: list[int] = []

    def remember(pairs: int, sample_bytes: int, **options: Any) -> int:
        asked.append(sample_bytes)
        return 1

    monkeypatch.setattr(run, "batch_size", remember)
    for side in (16, 32):
        xgraph.explain(model, np.zeros((1, 3, side, side), np.float32), target=0)
    assert asked[1] == pytest.approx(4 * asked[0], rel=0.01)
    assert asked[0] > 3 * 16 * 16 * 4


def test_sessions_are_kept(tiny_model: Model, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, ...]] = []
    real = session.Session.__init__

    def count(self: Any, *arguments: Any) -> None:
        opened.append(arguments[1:])
        real(self, *arguments)

    monkeypatch.setattr(session.Session, "__init__", count)
    monkeypatch.setattr(session, "_sessions", type(session._sessions)())
    for target in (0, 1, None, [0, 1, 2, 3, 4, 0, 1]):
        xgraph.explain(tiny_model, images, target=target)
    assert len(opened) == 1, "the class is fed, so one session serves all"
    xgraph.explain(tiny_model, images, threads=1)
    xgraph.explain(tiny_model, images, batch=2)
    assert [arguments[1:] for arguments in opened] == [(None, 7), (1, 7), (None, 2)]
    for threads in range(2, 12):
        xgraph.explain(tiny_model, images[:1], threads=threads)
    assert len(session._sessions) == session._KEPT


def test_models_of_one_graph_and_other_weights_do_not_share_sessions(load_proto: Callable[..., Model]) -> None:
    x = np.ones((1, 3, 16, 16), np.float32)
    scores = [xgraph.explain(load_proto(builders.tiny_cnn(seed=seed)), x, target=0).scores[0] for seed in (0, 1)]
    assert scores[0] != scores[1]


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("gpu", "fp32", "device 'gpu' is not one of auto, cpu, openvino, cuda"),
        ("cpu", "fp8", "precision 'fp8' is not one of"),
        ("cpu", "bf16", "use --device openvino"),
        ("cpu", "fp16", "not built yet"),
    ],
)
def test_devices_refused(device: str, precision: str, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        choose(device, precision)


def fake_engine(monkeypatch: pytest.MonkeyPatch, *available: str) -> None:
    engine = SimpleNamespace(get_available_providers=lambda: list(available), __version__="9")
    monkeypatch.setattr(providers, "onnxruntime", lambda: engine)


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_engine(monkeypatch, "CPUExecutionProvider")
    assert choose() == Provider("cpu")
    with pytest.raises(ProviderError, match="no CUDA provider; pip install"):
        choose("cuda")
    fake_engine(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert choose() == Provider("cuda") == choose("cuda")
    assert choose("cpu") == Provider("cpu")


def test_openvino_without_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_engine(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(providers, "openvino_installed", lambda: False)
    providers._openvino_device.cache_clear()
    with pytest.raises(ProviderError, match=r'not installed; pip install "xgraph\[openvino\]"'):
        choose("openvino")


class Refused(Exception):
    """The engine's own kind of error."""


@pytest.mark.parametrize("fault", ["no device", "registration"])
def test_openvino_that_does_not_start_says_so_every_time(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The engine refuses to register a plugin twice."""
    registered: list[str] = []

    def register(name: str, path: str) -> None:
        if fault == "registration" or name in registered:
            raise Refused("EP library is already registered\nstack")
        registered.append(name)

    engine = SimpleNamespace(
        get_available_providers=lambda: ["CPUExecutionProvider"],
        register_execution_provider_library=register,
        get_ep_devices=list,
        __version__="9",
    )
    monkeypatch.setattr(providers, "onnxruntime", lambda: engine)
    monkeypatch.setattr(providers, "ort_errors", lambda: (Refused,))
    monkeypatch.setattr(providers, "openvino_installed", lambda: True)
    monkeypatch.setitem(
        sys.modules,
        "onnxruntime_ep_openvino",
        SimpleNamespace(get_library_path=lambda: "plugin"),  # type: ignore[arg-type]
    )
    for cached in (providers._openvino_device, providers._register_openvino):
        monkeypatch.setattr(providers, cached.__name__, cache(cached.__wrapped__))
    message = {"no device": "offers no device", "registration": "does not take the plugin"}[fault]
    for _ in range(2):
        with pytest.raises(ProviderError, match=message) as caught:
            choose("openvino")
        assert "\n" not in str(caught.value)


def test_a_graph_that_the_engine_refuses_is_one_line() -> None:
    with pytest.raises(ProviderError, match="cpu cannot open the graph") as caught:
        session.Session(Artifact(b"nothing", {}, 1, ""), Provider("cpu"), None, None)
    assert "\n" not in str(caught.value)


def test_a_run_that_fails_is_one_line(load_proto: Callable[..., Model]) -> None:
    model = load_proto(builders.token_model())
    with pytest.raises(ProviderError, match="failed while running") as caught:
        xgraph.explain(model, np.full((1, 3), 99))
    assert "\n" not in str(caught.value)


def test_take_without_room() -> None:
    """Rows by the billion: said before the machine is filled."""
    state = Take().start(SimpleNamespace(counts=range(10**11)))
    with pytest.raises(InputError, match="explain fewer at a time"):
        Take().update(state, {"a": np.zeros((1, 10**4))}, Batch(np.zeros(1, int), np.zeros(1, int), {}, np.ones(1)))


@pytest.mark.parametrize("code", ["import xgraph; print(xgraph.list_methods())", "import xgraph.inputs, xgraph.cli"])
def test_most_of_xgraph_works_without_an_engine(code: str) -> None:
    hidden = f"import sys; sys.modules['onnxruntime'] = None; {code}"
    subprocess.run([sys.executable, "-P", "-c", hidden], check=True, capture_output=True)


def test_one_clear_error_without_an_engine(tiny_onnx: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "import xgraph, numpy as np\n"
        f"model = xgraph.load({str(tiny_onnx)!r})\n"
        "try: xgraph.explain(model, np.zeros((1, 3, 16, 16), np.float32))\n"
        "except xgraph.XGraphError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert 'pip install "xgraph[cpu]"' in done.stdout
