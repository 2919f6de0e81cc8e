"""Programs of training steps, for what looks at programs."""

import numpy as np

import graphnn as gn
from graphnn.compiler.program import Program


def lstm_step(steps: int, batch: int, features: int, hidden: int) -> Program:
    """A training step of an LSTM by scan; its NumPy kernels are called one by one."""
    x = gn.input("x", shape=(steps, batch, features))
    net = gn.nn.LSTM(features, hidden, rng=np.random.default_rng(0))
    loss = gn.sum(gn.square(net(x))).named("loss")
    updates = gn.optim.SGD(0.1).minimize(loss, net.parameters())
    return gn.compile(x, loss, updates, native="never")
