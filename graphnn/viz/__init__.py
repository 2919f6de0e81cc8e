"""Pictures of graphs and programs, and of what was measured in them."""

from graphnn.viz.comparison import side_by_side
from graphnn.viz.costs import costs
from graphnn.viz.history import History, Stage, history
from graphnn.viz.measure import measure
from graphnn.viz.overlays import Measurement, on_one_scale
from graphnn.viz.picture import Picture
from graphnn.viz.recorder import Recorder
from graphnn.viz.rendering import render
from graphnn.viz.scene_reader import read_picture

__all__ = [
    "History",
    "Measurement",
    "Picture",
    "Recorder",
    "Stage",
    "costs",
    "history",
    "measure",
    "on_one_scale",
    "read_picture",
    "render",
    "side_by_side",
]
