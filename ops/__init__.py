"""Every operator, defined once and in one place, one file per family."""

import sys

from graphnn.core.operators import bind_functions
from graphnn.ops import random as random
from graphnn.ops.activation import *
from graphnn.ops.arithmetic import *
from graphnn.ops.bounds import *
from graphnn.ops.broadcasting import *
from graphnn.ops.contract import constant as constant
from graphnn.ops.contraction import *
from graphnn.ops.control import *
from graphnn.ops.creation import *
from graphnn.ops.cumulative import *
from graphnn.ops.diagonals import *
from graphnn.ops.einstein import *
from graphnn.ops.exponential import *
from graphnn.ops.gathering import *
from graphnn.ops.indexing import *
from graphnn.ops.joining import *
from graphnn.ops.leaves import *
from graphnn.ops.logic import *
from graphnn.ops.movement import *
from graphnn.ops.normalizing import *
from graphnn.ops.padding import *
from graphnn.ops.products import *
from graphnn.ops.random import seed as seed
from graphnn.ops.reduction import *
from graphnn.ops.rounding import *
from graphnn.ops.special import *
from graphnn.ops.statistics import *
from graphnn.ops.trigonometric import *

bind_functions(sys.modules[__name__])
