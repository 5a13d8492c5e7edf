"""Operators through which no gradient flows, each with the mathematical reason."""

from __future__ import annotations

from xgraph.rules.vjp.book import vjp

vjp.constant("reads the shape, not the values", "Shape", "Size")
vjp.constant("makes constants from a shape", "ConstantOfShape", "EyeLike")
vjp.constant("makes an empty sequence", "SequenceEmpty")
vjp.constant("is a constant", "Constant")
vjp.constant(
    "piecewise constant: the derivative is zero wherever it exists",
    "Sign", "Floor", "Ceil", "Round", "Hardmax",
)  # fmt: skip
vjp.constant(
    "answers yes or no",
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsInf", "IsNaN",
    "OptionalHasElement",
)  # fmt: skip
vjp.constant("answers with a count", "SequenceLength")
vjp.constant("answers with indices", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression")
vjp.constant(
    "works on integers",
    "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
)  # fmt: skip
vjp.constant(
    "works on strings, counts or pictures",
    "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "ImageDecoder",
)  # fmt: skip
vjp.constant("makes a window from its size", "HannWindow", "HammingWindow", "BlackmanWindow")
vjp.constant("piecewise constant: the edges of its bands are rounded to bins", "MelWeightMatrix")
vjp.constant(
    "random: does not depend on the values of its inputs, or is piecewise constant in them",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
)  # fmt: skip
