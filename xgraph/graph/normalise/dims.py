"""Dynamic dimensions get names that mean something, the same name for the same size.

Converters name them badly (Paddle gives every one its own symbol, ``DynamicDimension.3``), and what the graph can
be proved to do depends on knowing that two of them are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx_ir as ir

from xgraph.errors import GraphError

BATCH = "batch"
SEQUENCE = "sequence"
_NOT_A_CHOICE = re.compile(r"DynamicDimension\.\d+|unk__\d+|dynamic_axes_\d+|\?|s\d+|None|-?\d+")
"""Symbols that a converter made up: two different ones may well be equal."""
_OTHER_SEQUENCE = re.compile(r"decoder|target|tgt|label", re.IGNORECASE)


def name_dims(model: ir.Model) -> None:
    """Names the dynamic dimensions of the graph inputs, in place.

    * axis 0 of every input, when dynamic: ``batch``, one for all of them;
    * axis 1 of integer inputs of rank 2, and the trailing axes of inputs called "mask": ``sequence``, one for all,
      unless the file itself gives two inputs different names, or one is called decoder, target or label;
    * the two spatial axes of 4-D float inputs: ``height``, ``width`` (the first such input);
    * anything else: ``<input>_dim<axis>``.

    Static dimensions stay. Shapes inside that the file declares with the old names follow.

    Raises:
        GraphError: An input has no rank.
    """
    renamed: dict[str, str] = {}
    chosen: dict[str, str | None] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            raise GraphError(f"input '{value.name}' has no shape; export the model with the ranks of its inputs")
        dims: list[int | str] = []
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, int) and dim > 0:
                dims.append(dim)
                continue
            old = dim.value if isinstance(dim, ir.SymbolicDim) else None
            name = renamed[old] if old in renamed and axis > 0 else _pick(value, axis, old, chosen)
            if old is not None:
                renamed.setdefault(old, name)
            dims.append(name)
        value.shape = ir.Shape(dims)
    _rename_inside(model, renamed)


def _pick(value: ir.Value, axis: int, old: str | None, chosen: dict[str, str | None]) -> str:
    """Returns a name for a dynamic axis; ``chosen`` keeps which symbol of the file each shared name stands for."""
    own = re.sub(r"\W", "_", f"{value.name}_dim{axis}")
    if axis == 0:
        return BATCH
    shared = _shared_name(value, axis)
    if shared is None:
        return own
    made_up = old is None or _NOT_A_CHOICE.fullmatch(old) is not None
    if shared in chosen and shared != SEQUENCE:
        return own
    if shared in chosen and not made_up and chosen[shared] not in (None, old):
        return own
    if shared not in chosen or chosen[shared] is None:
        chosen[shared] = None if made_up else old
    return shared


def _shared_name(value: ir.Value, axis: int) -> str | None:
    rank = len(value.shape or ())
    name = value.name or ""
    is_float = value.dtype is not None and value.dtype.is_floating_point()
    if _OTHER_SEQUENCE.search(name):
        return None
    if "mask" in name.lower() and axis >= max(1, rank - 2):
        return SEQUENCE
    if rank == 2 and not is_float:
        return SEQUENCE
    if rank == 4 and is_float:
        channels_last = isinstance(value.shape[3], int) and not isinstance(value.shape[1], int)  # type: ignore[index]
        first = 1 if channels_last else 2
        return {first: "height", first + 1: "width"}.get(axis)
    return None


def _rename_inside(model: ir.Model, renamed: dict[str, str]) -> None:
    for value in _values(model):
        if value.shape is None or value.is_graph_input():
            continue
        value.shape = ir.Shape(
            [d if isinstance(d, int) else ir.SymbolicDim(renamed.get(d.value or "", d.value)) for d in value.shape]
        )


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for node in model.graph.all_nodes():
        yield from node.outputs
