"""``xgraph demo``."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click

from xgraph.cli.base import Command, check_writable, progress_bar

_METHODS = ("gradient", "smooth_grad", "integrated_gradients", "grad_cam", "grad_cam_plus_plus", "layer_cam")


@click.command(cls=Command, short_help="Compile a small model and explain eight pictures with it.")
@click.option("-o", "--output", metavar="DIR", default="xgraph-demo", show_default=True, help="Where files go.")
def demo(output: str) -> None:
    """Compile a small model that tells shapes apart, and explain eight pictures with it."""
    import xgraph
    from xgraph.bundle import write_bundle
    from xgraph.cli.report import Report
    from xgraph.cli.sources import expand, read
    from xgraph.exporters.paddle import installed

    folder = Path(output)
    check_writable(folder)
    with as_file(files("xgraph") / "data") as data:
        paddle = installed()
        source = data / "shapes_cnn" / ("legacy/shapes_cnn.pdmodel" if paddle else "shapes_cnn.onnx")
        if not paddle:
            click.echo("Paddle is not installed, so the demo takes the ONNX export of its model")
        model = xgraph.load(source)
        programs = [xgraph.compile(model, name) for name in _METHODS]
        bundle = write_bundle(model, programs, folder / "shapes_cnn.xgraph")
        click.echo(f"compiled {source.name} ({len(model.layers)} layers) into {bundle}")
        model = xgraph.load(bundle)
        pictures = [picture for path in expand([str(data / "shapes")]) for picture in read(model, path, 1)]
        attributions = [
            xgraph.explain(model, [p.path for p in pictures], name, progress=progress_bar(name)) for name in _METHODS
        ]
        report = Report(model, folder)
        for row, picture in enumerate(pictures):
            report.add(picture, [a.rows([row]) for a in attributions])
        report.write()
    for picture, entry in zip(pictures, report.entries, strict=True):
        click.echo(f"{picture.path.stem:<10} predicted {entry['results'][0]['label']:<10} {folder / entry['gallery']}")
    click.echo(
        f"pictures, raw values (.npz) and run.json are in {folder}; next: xgraph explain MODEL IMAGE --method grad_cam"
    )
