"""Losses: what training makes small. Functions from nodes to a node, with gradients that are safe.

Most take ``reduction``: ``"mean"`` over all terms (the default), ``"sum"``, or ``"none"``, which
keeps one term per sample or element; ``mask``, bools that broadcast to the terms, of which those
that are false count nothing, whatever they hold; and ``weights``, numbers that broadcast to the
terms, by which the mean is weighted.
"""

from graphnn.losses.classification import *
from graphnn.losses.distributions import *
from graphnn.losses.penalties import *
from graphnn.losses.regression import *
