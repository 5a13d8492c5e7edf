"""Names of the graph inputs that say which mask lies on which sample."""

from __future__ import annotations

ROW = "xg_row"
"""int64[batch]: which of the samples that were fed each run is of."""
BITS = "xg_bits"
"""uint8[batch, bytes]: feature f is on where bit f mod 8 of byte f div 8 is set."""
CORNER = "xg_corner"
"""int64[batch, axes]: where a window begins on each axis behind the batch."""
SHIFT = "xg_shift"
"""int64[batch, 2]: how far an upsampled grid is moved up and to the left."""
SPREAD = ("xg_spread_y", "xg_spread_x")
"""float32[places, cells]: the weight of every cell of a grid at every place of an axis."""
MAPS = "xg_maps"
"""float32[samples, channels, h, w]: activation maps that become masks."""
CHANNEL = "xg_channel"
"""int64[batch]: which of the maps."""
MASK = "xg_mask"
"""float32[batch, h, w]: masks as they are."""
PATCH = "xg_patch"
"""float32[height * width, channels]: what shows inside a window, where clean activations are reused."""
CLEAN = "xg_clean"
"""float32[height * width, channels] each, ``xg_clean_0``, ``xg_clean_1`` ...: clean activations of one sample."""
