"""Layers, and modules that hold parameters and other modules: ``gn.nn``."""

from graphnn.nn.activations import *
from graphnn.nn.attention import *
from graphnn.nn.decoding import *
from graphnn.nn.dense import *
from graphnn.nn.dropout import *
from graphnn.nn.embedding import *
from graphnn.nn.hopfield import *
from graphnn.nn.module import *
from graphnn.nn.recurrent import *
from graphnn.nn.seq2seq import *
from graphnn.nn.sequential import *
