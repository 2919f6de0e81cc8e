"""Every operator, defined once and in one place, one file per family."""

import sys

from graphnn.core.operators import bind_functions
from graphnn.ops.arithmetic import *
from graphnn.ops.broadcasting import *
from graphnn.ops.contract import constant
from graphnn.ops.exponential import *
from graphnn.ops.leaves import *
from graphnn.ops.logic import *

bind_functions(sys.modules[__name__])
