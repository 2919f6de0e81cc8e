"""Pictures of graphs and programs."""

from graphnn.viz.picture import Picture, render

__all__ = ["Picture", "render"]
