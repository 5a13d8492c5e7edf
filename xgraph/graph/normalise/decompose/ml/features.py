"""ArrayFeatureExtractor and FeatureVectorizer: columns taken out, and put together."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site
from xgraph.graph.tabular import rows


def array_feature_extractor(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the columns ``y`` of the last axis; a vector counts as one row."""
    x = s.input(0)
    table = b.Unsqueeze(x, [0]) if rank(x) == 1 else x
    return [b.Gather(table, b.Reshape(s.input(1), [-1]), axis=-1)]


def feature_vectorizer(b: Emit, s: Site) -> Sequence[Value]:
    """Returns all inputs side by side, as float32."""
    return [b.Concat(*(rows(b, s.input(i)) for i in range(len(s.x))), axis=1)]
