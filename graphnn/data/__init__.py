"""Data for training: mini-batches, splits, standardisation, windows, text, and real data sets."""

from graphnn.data.batches import *
from graphnn.data.datasets import *
from graphnn.data.prefetch import *
from graphnn.data.preparation import *
from graphnn.data.sequence_batches import *
from graphnn.data.text import *
from graphnn.data.ts_format import *
