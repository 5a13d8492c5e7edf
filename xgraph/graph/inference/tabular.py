"""Shape inference of ``ai.onnx.ml``."""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference

_CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier")
_REGRESSORS = {"LinearRegressor": "targets", "SVMRegressor": "", "TreeEnsembleRegressor": "n_targets"}
"""Each with the attribute that counts its columns, if it may have several."""


def _classifier(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    strings, labels = len(_list(node, "classlabels_strings")), len(_list(node, "classlabels_int64s"))
    labels = strings or labels or len(_list(node, "classlabels_ints"))
    columns = labels
    if node.op_type == "LinearClassifier" and len(_list(node, "intercepts")) > 1:
        columns = len(_list(node, "intercepts"))
    elif node.op_type == "SVMClassifier" and _list(node, "vectors_per_class") and not _list(node, "prob_a"):
        columns = 2 if labels == 2 else labels * (labels - 1) // 2
    rows = _rows(node)
    dtype = ir.DataType.STRING if strings else ir.DataType.INT64
    context.set_shape_and_dtype(node.outputs[0], None if rows is None else ir.Shape([rows]), dtype)
    context.set_shape_and_dtype(node.outputs[1], None if rows is None else ir.Shape([rows, columns]), _FLOAT)


def _regressor(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    counted, rows = _REGRESSORS[node.op_type], _rows(node)
    columns = node.attributes.get_int(counted, 1) if counted else 1
    context.set_shape_and_dtype(node.outputs[0], None if rows is None else ir.Shape([rows, columns]), _FLOAT)


def _elementwise(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    x = node.inputs[0]
    if x is not None:
        context.set_shape_and_dtype(node.outputs[0], x.shape, x.dtype if node.op_type == "Imputer" else _FLOAT)


def _vectorizer(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    rows, columns = _rows(node), sum(_list(node, "inputdimensions"))
    context.set_shape_and_dtype(node.outputs[0], None if rows is None else ir.Shape([rows, columns]), _FLOAT)


_FLOAT = ir.DataType.FLOAT


def _rows(node: ir.Node) -> int | ir.SymbolicDim | None:
    """Returns the size of the first axis of what comes in; a vector is one row; None where the rank is not known."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    return x.shape[0] if len(x.shape) > 1 else 1


def _list(node: ir.Node, name: str) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return () if attribute is None else tuple(attribute.value)


inference.registry.collect()
for _op in _CLASSIFIERS:
    inference.registry.register("ai.onnx.ml", _op)(_classifier)
for _op in _REGRESSORS:
    inference.registry.register("ai.onnx.ml", _op)(_regressor)
for _op in ("Scaler", "Normalizer", "Imputer"):
    inference.registry.register("ai.onnx.ml", _op)(_elementwise)
inference.registry.register("ai.onnx.ml", "FeatureVectorizer")(_vectorizer)
