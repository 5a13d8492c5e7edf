"""Operators of ``ai.onnx.ml``, as converters of scikit-learn write them, in standard operators.

One file per family. All of them compute in float32, whatever comes in, and equal what ONNX Runtime computes, its own
reading of the specification included. Trees and dictionaries of labels stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.normalise.decompose.ml.features import array_feature_extractor, feature_vectorizer
from xgraph.graph.normalise.decompose.ml.linear import linear_classifier, linear_regressor
from xgraph.graph.normalise.decompose.ml.scaling import binarizer, imputer, normalizer, scaler
from xgraph.graph.normalise.decompose.ml.svm import svm_classifier, svm_regressor
from xgraph.graph.site import Site

ML: Mapping[str, Callable[[Emit, Site], Sequence[ir.Value | None] | None]] = {
    "ai.onnx.ml::ArrayFeatureExtractor": array_feature_extractor,
    "ai.onnx.ml::Binarizer": binarizer,
    "ai.onnx.ml::FeatureVectorizer": feature_vectorizer,
    "ai.onnx.ml::Imputer": imputer,
    "ai.onnx.ml::LinearClassifier": linear_classifier,
    "ai.onnx.ml::LinearRegressor": linear_regressor,
    "ai.onnx.ml::Normalizer": normalizer,
    "ai.onnx.ml::SVMClassifier": svm_classifier,
    "ai.onnx.ml::SVMRegressor": svm_regressor,
    "ai.onnx.ml::Scaler": scaler,
}
