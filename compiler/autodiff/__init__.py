"""Differentiation as graph-to-graph passes: forward, reverse, and what is built from both."""
