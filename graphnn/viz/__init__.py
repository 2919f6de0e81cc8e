"""Pictures of graphs and programs."""

from graphnn.viz.picture import Picture, render
from graphnn.viz.scene_reader import read_picture

__all__ = ["Picture", "read_picture", "render"]
