"""Import-time normalisation: from what exporters write to what rules and recognisers expect.

Passes run in one explicit order, each in its own file. Afterwards: no functions, no Constant or Identity nodes, opset
18 or newer without composite operators, named dimensions, known shapes, constant targets, explicit pads, unique names.
The bodies of If, Loop and Scan end so too, but keep their Identity nodes; they capture their weights.
BatchNormalization stays a node, so that layers keep their names.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.evaluator import Evaluator
from xgraph.graph.normalise.branches import take_constant_branches
from xgraph.graph.normalise.collected import stack_collected
from xgraph.graph.normalise.constants import fold_constants, lift_constants
from xgraph.graph.normalise.decompose import decompose, has_vendors_operators
from xgraph.graph.normalise.decompose.microsoft import adopt_homeless, opset_of_quantisers
from xgraph.graph.normalise.dims import name_dims
from xgraph.graph.normalise.identity import remove_identities
from xgraph.graph.normalise.infer import infer_shapes, name_inner_dims, unknown_ranks
from xgraph.graph.normalise.inline import inline_functions
from xgraph.graph.normalise.loops import complete_loops
from xgraph.graph.normalise.names import repair_names, unify_default_domain
from xgraph.graph.normalise.opset import convert_opset
from xgraph.graph.normalise.pads import resolve_auto_pad
from xgraph.graph.normalise.quantised import float_quantised
from xgraph.graph.normalise.reshape import fix_shape_arithmetic
from xgraph.graph.normalise.sequences import resolve_sequences
from xgraph.graph.normalise.transpose import merge_batched_transposes
from xgraph.graph.normalise.unused import drop_initializer_inputs, remove_unused_domains, sort
from xgraph.graph.normalise.verify import check, compare
from xgraph.graph.prune import remove_unused

__all__ = ["has_vendors_operators", "normalise", "unknown_ranks"]

_MOST_ROUNDS = 12
"""Each round of shape arithmetic peels one layer of a chain; real exports need two or three."""


def normalise(model: ir.Model, *, evaluator: Evaluator | None = None) -> ir.Model:
    """Returns a normalised copy of ``model``; the model itself is never changed, weights are shared.

    Names of graph inputs and outputs stay. With an evaluator the copy is run against the original on seeded random
    feeds.

    Raises:
        GraphError: The model is not valid, cannot be converted, or computes something else afterwards.
    """
    copy = model.clone()
    unify_default_domain(copy)
    inline_functions(copy)
    sort(copy)
    drop_initializer_inputs(copy)
    repair_names(copy)
    complete_loops(copy)
    lift_constants(copy)
    remove_unused(copy)
    adopt_homeless(copy)
    copy = convert_opset(copy, oldest=opset_of_quantisers(copy))
    lift_constants(copy)
    repair_names(copy)
    name_dims(copy)
    infer_shapes(copy)
    decompose(copy)
    _simplify(copy)
    resolve_auto_pad(copy)
    sort(copy)
    name_inner_dims(copy)
    remove_unused_domains(copy)
    check(copy)
    if evaluator is not None:
        compare(model, copy, evaluator)
    return copy


def _simplify(model: ir.Model) -> None:
    """Folding, shape arithmetic and identities, until none of them finds anything more."""
    for _ in range(_MOST_ROUNDS):
        fold_constants(model)
        changed = remove_identities(model)
        changed |= stack_collected(model)
        changed |= resolve_sequences(model)
        remove_unused(model)
        infer_shapes(model)
        changed |= merge_batched_transposes(model)
        changed |= fix_shape_arithmetic(model)
        changed |= float_quantised(model)
        if take_constant_branches(model):
            decompose(model)
            changed = True
        remove_unused(model)
        if not changed:
            return
    infer_shapes(model)
