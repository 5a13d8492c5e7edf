"""Devices: which execution provider runs a graph. The one that was asked for, or an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

from xgraph.errors import ProviderError
from xgraph.runtime.ort import first_line, onnxruntime, ort_errors

Device: TypeAlias = Literal["auto", "cpu", "openvino", "cuda"]
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "openvino", "cuda")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
_OPENVINO = "xgraph_openvino"


@dataclass(frozen=True, slots=True)
class Provider:
    """A device at a precision; hashable, part of the session cache's key."""

    device: Literal["cpu", "openvino", "cuda"]
    precision: Precision = "fp32"

    @property
    def profile(self) -> str:
        """The lowering profile whose graphs run best here."""
        return self.device

    @property
    def version(self) -> str:
        """Version of the engine."""
        return str(onnxruntime().__version__)

    def __str__(self) -> str:
        return self.device if self.precision == "fp32" else f"{self.device} {self.precision}"


def choose(device: str = "auto", precision: str = "fp32") -> Provider:
    """Returns the provider for a device name.

    ``auto`` is CUDA where onnxruntime has it, else the CPU. OpenVINO is used when it is asked for.

    Raises:
        ProviderError: The device is unknown or not available, or cannot compute at this precision.
    """
    if device not in DEVICES:
        raise ProviderError(f"device '{device}' is not one of {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise ProviderError(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
    available = onnxruntime().get_available_providers()
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in available else "cpu"
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise ProviderError(
            'device cuda: this onnxruntime has no CUDA provider; pip install "xgraph[cuda]" instead of [cpu]'
        )
    if device == "openvino":
        _openvino_device()
    if precision == "bf16" and device != "openvino":
        raise ProviderError(f"precision bf16 runs on device openvino only, not on {device}; use --device openvino")
    if precision == "fp16":
        raise ProviderError("precision fp16 is not built yet; use fp32, or bf16 on device openvino")
    return Provider(device, precision)  # type: ignore[arg-type]


def configure(options: Any, provider: Provider) -> list[str]:
    """Adds the provider to session options; returns the ``providers`` argument for the session."""
    if provider.device == "cpu":
        return ["CPUExecutionProvider"]
    if provider.device == "cuda":
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    hint = {"bf16": "bf16", "fp32": "f32"}[provider.precision]
    config = {"CPU": {"INFERENCE_PRECISION_HINT": hint}}
    options.add_provider_for_devices([_openvino_device()], {"load_config": json.dumps(config)})
    return []


def openvino_installed() -> bool:
    """Tells whether the OpenVINO plugin package is there."""
    return find_spec("onnxruntime_ep_openvino") is not None


@cache
def _register_openvino() -> None:
    """Registers the plugin; the engine takes it once in a process, whether it has a device to offer or not."""
    import onnxruntime_ep_openvino

    onnxruntime().register_execution_provider_library(_OPENVINO, onnxruntime_ep_openvino.get_library_path())


@cache
def _openvino_device() -> Any:
    ort = onnxruntime()
    if not openvino_installed():
        raise ProviderError('device openvino: the plugin is not installed; pip install "xgraph[openvino]"')
    faults: tuple[type[Exception], ...] = (ImportError, AttributeError, *ort_errors())
    try:
        _register_openvino()
    except faults as error:
        raise ProviderError(
            f"device openvino: onnxruntime {ort.__version__} does not take the plugin ({first_line(error)}); "
            'pip install --upgrade "xgraph[openvino]"'
        ) from error
    for device in ort.get_ep_devices():
        if device.ep_metadata.get("ov_device") == "CPU":
            return device
    raise ProviderError(
        "device openvino: the plugin offers no device on this machine (it knows Intel CPUs only); use --device cpu"
    )
