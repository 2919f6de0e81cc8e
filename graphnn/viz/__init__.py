"""Pictures of graphs and programs, and of what was measured in them."""

from graphnn.viz.comparison import side_by_side
from graphnn.viz.costs import costs
from graphnn.viz.measure import measure
from graphnn.viz.overlays import Measurement, on_one_scale
from graphnn.viz.picture import Picture, render
from graphnn.viz.recorder import Recorder

__all__ = [
    "Measurement",
    "Picture",
    "Recorder",
    "costs",
    "measure",
    "on_one_scale",
    "render",
    "side_by_side",
]
