"""Random numbers with explicit keys: ``gn.random``.

Every function takes a key and gives the same numbers for the same key, on every backend. Use a
key once: :func:`split` and :func:`fold_in` make new ones. Without a key, numbers come from the
*default stream*, which moves on at every call of a program; ``gn.seed`` starts it anew.
"""

from __future__ import annotations

from graphnn.ops.distributions import bernoulli, dropout_mask, normal, uniform
from graphnn.ops.random_integers import categorical, permutation, randint
from graphnn.ops.streams import (
    RNG_COUNTER,
    RNG_SEED,
    default_key,
    fold_in,
    key,
    load_state_dict,
    seed,
    split,
    state_dict,
)

__all__ = [
    "RNG_COUNTER",
    "RNG_SEED",
    "bernoulli",
    "categorical",
    "default_key",
    "dropout_mask",
    "fold_in",
    "key",
    "load_state_dict",
    "normal",
    "permutation",
    "randint",
    "seed",
    "split",
    "state_dict",
    "uniform",
]
