"""Layers, and modules that hold parameters and other modules: ``gn.nn``."""

from graphnn.nn.activations import *
from graphnn.nn.attention import *
from graphnn.nn.cells import *
from graphnn.nn.conv_lstm import *
from graphnn.nn.convolution import *
from graphnn.nn.decoder import *
from graphnn.nn.decoding import *
from graphnn.nn.dense import *
from graphnn.nn.dropout import *
from graphnn.nn.embedding import *
from graphnn.nn.gated_cells import *
from graphnn.nn.hopfield import *
from graphnn.nn.locally_connected import *
from graphnn.nn.module import *
from graphnn.nn.monte_carlo import *
from graphnn.nn.normalization import *
from graphnn.nn.perceptron import *
from graphnn.nn.pooling import *
from graphnn.nn.recurrent import *
from graphnn.nn.recurrent_nets import *
from graphnn.nn.seq2seq import *
from graphnn.nn.sequence_layer import *
from graphnn.nn.sequence_wrappers import *
from graphnn.nn.sequential import *
from graphnn.nn.simple_cells import *
from graphnn.nn.step_norm import *
