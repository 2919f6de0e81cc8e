"""Every operator, defined once and in one place, one file per family."""

import sys

from graphnn.core.operators import bind_functions
from graphnn.ops import (
    activation,
    arithmetic,
    bounds,
    broadcasting,
    contraction,
    control,
    creation,
    cumulative,
    diagonals,
    einstein,
    exponential,
    gathering,
    indexing,
    joining,
    leaves,
    logic,
    movement,
    normalizing,
    padding,
    products,
    random,
    reduction,
    rounding,
    special,
    statistics,
    trigonometric,
)
from graphnn.ops.activation import *
from graphnn.ops.arithmetic import *
from graphnn.ops.bounds import *
from graphnn.ops.broadcasting import *
from graphnn.ops.contract import constant
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
from graphnn.ops.random import seed
from graphnn.ops.reduction import *
from graphnn.ops.rounding import *
from graphnn.ops.special import *
from graphnn.ops.statistics import *
from graphnn.ops.trigonometric import *

__all__ = ["constant", "random", "seed"]
__all__ += activation.__all__
__all__ += arithmetic.__all__
__all__ += bounds.__all__
__all__ += broadcasting.__all__
__all__ += contraction.__all__
__all__ += control.__all__
__all__ += creation.__all__
__all__ += cumulative.__all__
__all__ += diagonals.__all__
__all__ += einstein.__all__
__all__ += exponential.__all__
__all__ += gathering.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += leaves.__all__
__all__ += logic.__all__
__all__ += movement.__all__
__all__ += normalizing.__all__
__all__ += padding.__all__
__all__ += products.__all__
__all__ += reduction.__all__
__all__ += rounding.__all__
__all__ += special.__all__
__all__ += statistics.__all__
__all__ += trigonometric.__all__

bind_functions(sys.modules[__name__])
