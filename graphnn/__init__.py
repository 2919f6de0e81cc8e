"""Graph-based automatic differentiation with static compilation."""

from graphnn._version import __version__
from graphnn.compiler.autodiff.derivatives import *
from graphnn.compiler.program import Program, compile, evaluate
from graphnn.core.dims import Dim
from graphnn.core.errors import *
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import name_scope, provenance, time_step
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.state import Parameter, parameter
from graphnn.ops import *
