"""The opset policy: models below 18 are converted to 18, newer ones keep theirs.

From 18 on, every operator that a rule emits has one meaning (all ``Reduce*`` but ReduceSum take their axes as an
input from there), so rules are written once. Composite operators newer than 18 are taken apart in ``decompose``.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.evaluator import INLINE_BYTES
from xgraph.graph.io import CANONICAL, opset

OLDEST = 7
_HALF_PIXEL = 11
"""From here on Resize has a coordinate mode, whose default differs from what Resize and Upsample did before."""

_SCAN_OVER_ANY_AXIS = 9
"""Before, Scan ran over the second axis of batches, which the converter does not rewrite."""

_WEIGHTS_APART = 4
"""From this IR version on, a weight need not be an input too."""


def convert_opset(model: ir.Model, *, oldest: int = CANONICAL) -> ir.Model:
    """Returns the model at opset 18, or ``oldest`` where that is newer, when it is below, else the model itself.

    The conversion is onnx's own, on a protobuf without weights (they are declared as inputs meanwhile, so its
    limit of 2 GB never matters). It needs functions inlined and constants lifted to initializers. Nodes of
    other domains are not touched. Node metadata is carried over by output name.

    Raises:
        GraphError: The model is older than opset 7, or the converter cannot do it.
    """
    version = opset(model)
    wanted = max(CANONICAL, oldest)
    if version >= wanted:
        return model
    if version < OLDEST:
        raise GraphError(
            f"the model is of opset {version}; {OLDEST} is the oldest that can be imported: export it again"
        )
    if version < _SCAN_OVER_ANY_AXIS and any(node.op_type == "Scan" for node in model.graph.all_nodes()):
        raise GraphError(f"Scan of opset {version} has a batch axis of its own: export the model at opset 9 or later")
    inputs = list(model.graph.inputs)
    weights = _weights_to_inputs(model)
    try:
        # Some adapters (Softmax before 13, Upsample) ask for the ranks of values.
        proto = onnx.shape_inference.infer_shapes(ir.to_proto(model))
        # Below 4 the converter looks for weights among the inputs only, where they no longer are.
        proto.ir_version = max(proto.ir_version, _WEIGHTS_APART)
        converted = ir.from_proto(onnx.version_converter.convert_version(proto, wanted))
    except (
        RuntimeError,
        IndexError,
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
    ) as error:
        reason = " ".join(str(error).split())
        raise GraphError(f"the model cannot be converted from opset {version} to {wanted}: {reason}") from error
    if version < _HALF_PIXEL:
        _keep_asymmetric(converted)
    _restore(converted, model, len(inputs), weights)
    return converted


def _keep_asymmetric(model: ir.Model) -> None:
    # onnx's adapters leave the new default: linear interpolation then moves by half a pixel.
    for node in model.graph.all_nodes():
        if node.op_type == "Resize" and not node.domain:
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "asymmetric"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor")


def _weights_to_inputs(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes < INLINE_BYTES:
            continue
        weights[name] = tensor
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        value.const_value = None
        del model.graph.initializers[name]
        model.graph.inputs.append(value)
    return weights


def _restore(converted: ir.Model, model: ir.Model, inputs: int, weights: dict[str, ir.TensorProtocol]) -> None:
    graph = converted.graph
    for value in list(graph.inputs)[inputs:]:
        graph.inputs.remove(value)
        value.const_value = weights[value.name or ""]
        graph.register_initializer(value)
    converted.metadata_props.update(model.metadata_props)
    graph.name = model.graph.name
    by_output = {output.name: node for node in model.graph for output in node.outputs}
    for node in graph:
        before = next((by_output[o.name] for o in node.outputs if o.name in by_output), None)
        if before is not None:
            node.metadata_props.update(before.metadata_props)
            node.name = node.name or before.name
    for domain, version in model.opset_imports.items():
        graph.opset_imports.setdefault(domain, version)
