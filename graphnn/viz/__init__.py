"""Pictures of graphs and programs."""

from graphnn.viz.render import Picture, render

__all__ = ["Picture", "render"]
