"""Which samples of the table of operations have code for GPUs."""

from cuda_shim import UnbuiltDevice
from drawing import Case, draw

import graphnn as gn
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.core.errors import UnsupportedOpError

__all__ = ["has_code"]


def has_code(case: Case, dtype: str) -> bool:
    """Whether all operators of a sample have code."""
    drawn = draw(case.sample, dtype, case.generator())
    inputs = drawn.inputs()
    program = gn.compile(inputs, drawn.call(case.operation.function, inputs), backend="cupy")
    try:
        DeviceExecutable(program.unit, UnbuiltDevice())
    except UnsupportedOpError:
        return False
    return True
