"""graphnn: graph-based automatic differentiation with static compilation.

Declare a computation as a graph, differentiate it in either mode to any order, compile it once,
and call it with arrays::

    import graphnn as gn

    x = gn.input("x", shape=("batch", 3))
    w = gn.parameter([[1.0], [2.0], [3.0]], name="w")
    loss = gn.mean((x @ w) ** 2)
    step = gn.compile(x, loss, updates={w: w - 0.1 * gn.grad(loss, w)})
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from graphnn import ops as ops
from graphnn._version import __version__ as __version__
from graphnn.compiler.autocasting import *
from graphnn.compiler.autodiff.check import *
from graphnn.compiler.autodiff.derivatives import *
from graphnn.compiler.batching import *
from graphnn.compiler.compilation import *
from graphnn.compiler.default_backend import *
from graphnn.compiler.program import *
from graphnn.compiler.threads import *
from graphnn.core.arrays import to_host as to_host
from graphnn.core.dims import Dim as Dim
from graphnn.core.errors import *
from graphnn.core.graph import Graph as Graph
from graphnn.core.node import Node as Node
from graphnn.core.provenance import Provenance as Provenance
from graphnn.core.provenance import name_scope as name_scope
from graphnn.core.provenance import provenance as provenance
from graphnn.core.provenance import time_step as time_step
from graphnn.core.spec import TensorSpec as TensorSpec
from graphnn.core.spec import TupleSpec as TupleSpec
from graphnn.core.state import Parameter as Parameter
from graphnn.core.state import parameter as parameter
from graphnn.ops import *

if TYPE_CHECKING:
    from graphnn import data as data
    from graphnn import init as init
    from graphnn import io as io
    from graphnn import losses as losses
    from graphnn import metrics as metrics
    from graphnn import nn as nn
    from graphnn import optim as optim
    from graphnn import train as train
    from graphnn import viz as viz
    from graphnn.functions import Function as Function
    from graphnn.functions import function as function
    from graphnn.tracing import TracedGraph as TracedGraph
    from graphnn.tracing import trace as trace
    from graphnn.viz import render as render

_LAZY = ("data", "init", "io", "losses", "metrics", "nn", "optim", "train", "viz")
_LAZY_NAMES = {
    "Function": "functions",
    "TracedGraph": "tracing",
    "function": "functions",
    "render": "viz",
    "trace": "tracing",
}


def __getattr__(name: str) -> Any:
    """Load what stands on the engine when it is first used, so that importing it stays fast."""
    if name in _LAZY:
        return importlib.import_module(f"graphnn.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"graphnn.{_LAZY_NAMES[name]}"), name)
    if name == "__all__":
        return _public()
    if name.startswith("__"):
        raise AttributeError(f"module 'graphnn' has no attribute {name!r}")
    try:
        return getattr(ops, name)
    except AttributeError:
        raise AttributeError(f"module 'graphnn' has no attribute {name!r}") from None


def _public() -> list[str]:
    """What is for users: all but the modules that things come from."""
    families = (name for names in ops.LAZY.values() for name in names)
    hidden = {"Any", "ModuleType", "TYPE_CHECKING"}
    own = (
        name
        for name, value in globals().items()
        if not name.startswith("_") and name not in hidden and not isinstance(value, ModuleType)
    )
    return sorted({*own, *_LAZY, *_LAZY_NAMES, *ops.__all__, *families, "ops"})


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *_public()})
