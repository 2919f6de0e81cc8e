"""Training loops, and the record of what happened in them."""

from graphnn.train.callbacks import *
from graphnn.train.history import *
from graphnn.train.loop import *
