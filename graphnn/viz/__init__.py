"""Pictures of graphs and programs."""

from graphnn.viz.history import History, Stage, history
from graphnn.viz.picture import Picture, render

__all__ = ["History", "Picture", "Stage", "history", "render"]
