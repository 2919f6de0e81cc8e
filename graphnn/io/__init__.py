"""Checkpoints and weights in files: ``gn.io``."""

from graphnn.io.checkpoint import *
from graphnn.io.graphs import *
from graphnn.io.torch_weights import *
from graphnn.io.weights import *
