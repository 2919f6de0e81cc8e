"""Optimizers: how gradients become new values of parameters."""

from graphnn.optim.accumulated import *
from graphnn.optim.adam import *
from graphnn.optim.adam_variants import *
from graphnn.optim.adaptive import *
from graphnn.optim.averaging import *
from graphnn.optim.clipping import *
from graphnn.optim.constraints import *
from graphnn.optim.grouped import *
from graphnn.optim.lbfgs import *
from graphnn.optim.loss_scale import *
from graphnn.optim.optimizer import *
from graphnn.optim.plateau import *
from graphnn.optim.schedules import *
from graphnn.optim.sgd import *
from graphnn.optim.sign import *
