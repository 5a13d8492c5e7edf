"""The graph types that other rooms may name; they are onnx_ir's, and only this room knows that."""

from __future__ import annotations

from typing import TypeAlias

import onnx_ir as ir

Graph: TypeAlias = ir.Model
"""A whole model graph with its weights."""
Node: TypeAlias = ir.Node
Value: TypeAlias = ir.Value

__all__ = ["Graph", "Node", "Value"]
