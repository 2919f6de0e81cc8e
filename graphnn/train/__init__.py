"""Training loops, and the record of what happened in them."""

from graphnn.train.callbacks import *
from graphnn.train.checkpoints import *
from graphnn.train.finder import *
from graphnn.train.gradients import *
from graphnn.train.history import *
from graphnn.train.loggers import *
from graphnn.train.loop import *
from graphnn.train.prediction import *
from graphnn.train.run import Run as Run
from graphnn.train.trainer import *
