"""Optimizers: how gradients become new values of parameters."""

from graphnn.optim.adam import *
from graphnn.optim.clipping import *
from graphnn.optim.optimizer import *
from graphnn.optim.sgd import *
