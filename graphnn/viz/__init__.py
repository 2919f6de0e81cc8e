"""Pictures of graphs and programs, and of what was measured in them."""

from graphnn.viz.measure import measure
from graphnn.viz.overlays import Measurement, on_one_scale
from graphnn.viz.picture import Picture, render

__all__ = ["Measurement", "Picture", "measure", "on_one_scale", "render"]
