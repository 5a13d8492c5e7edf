"""The gradient book itself; its rules are in the modules beside it."""

from __future__ import annotations

from xgraph.rules.book import Book

vjp = Book("vjp")
