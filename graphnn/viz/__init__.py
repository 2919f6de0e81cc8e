"""Pictures of graphs and programs."""

from graphnn.viz.history import History, Stage, history
from graphnn.viz.picture import Picture, render
from graphnn.viz.scene_reader import read_picture

__all__ = ["History", "Picture", "Stage", "history", "read_picture", "render"]
