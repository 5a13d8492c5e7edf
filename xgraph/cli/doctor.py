"""``xgraph doctor``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from xgraph import __version__
from xgraph.cli.base import Command, print_json
from xgraph.errors import XGraphError

_PACKAGES = (
    "numpy", "onnx", "onnx-ir", "onnxscript", "onnx-shape-inference", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-ep-openvino", "paddlepaddle", "paddle2onnx", "numba", "scikit-image", "scikit-learn",
)  # fmt: skip
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@click.command(cls=Command, short_help="Show versions, devices and what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> None:
    """Show versions, execution providers and CPU features, and say what is missing."""
    document = examine()
    if as_json:
        print_json(document)
        return
    click.echo(f"xgraph {__version__}, Python {document['python']}, {document['platform']}, {document['cores']} cores")
    for name, found in document["packages"].items():
        click.echo(f"  {name:<26} {found or '-'}")
    click.echo(f"providers  {', '.join(document['providers']) or 'none'}")
    click.echo(f"cpu        {', '.join(document['cpu']) or 'no known features'}")
    for title in ("missing", "optional"):
        for line in document[title]:
            click.echo(f"{title:<11}{line}")
    if not document["missing"]:
        click.echo("nothing that is needed is missing")


def examine() -> dict[str, Any]:
    """Returns what is installed and what is not."""
    import psutil

    packages = {name: _version(name) for name in _PACKAGES}
    providers, missing, optional = _providers()
    if not packages["paddlepaddle"] or not packages["paddle2onnx"]:
        optional.append('Paddle models cannot be read: pip install "xgraph[paddle]" (Python 3.11 or 3.12)')
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        missing.append("onnxruntime and onnxruntime-gpu overwrite each other: uninstall one, reinstall the other")
    return {
        "xgraph": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        "packages": packages,
        "providers": providers,
        "cpu": _cpu_features(),
        "missing": missing,
        "optional": optional,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _providers() -> tuple[list[str], list[str], list[str]]:
    """Returns what runs graphs, what is missing, and what could be added."""
    from xgraph.runtime.ort import onnxruntime
    from xgraph.runtime.providers import choose, openvino_installed

    try:
        providers = [str(name) for name in onnxruntime().get_available_providers()]
    except XGraphError as error:
        return [], [str(error)], []
    if not openvino_installed():
        return providers, [], ['device openvino: pip install "xgraph[openvino]" (fast bf16 on CPUs)']
    try:
        choose("openvino")
    except XGraphError as error:
        # One device that does not start says nothing about the others.
        return providers, [], [str(error)]
    return [*providers, "OpenVINO (plugin)"], [], []


def _cpu_features() -> list[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return []
    flags = {
        flag
        for line in info.read_text().splitlines()
        if line.startswith(("flags", "Features"))
        for flag in line.split()
    }
    return [flag for flag in _CPU_FLAGS if flag in flags]
