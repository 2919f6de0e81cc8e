"""Generated CUDA code, run on the CPU: every operation of the table, in both orders of threads."""

from itertools import batched
from typing import Any

import pytest
from checks import check_forward
from cuda_shim import ShimDevice
from drawing import Case, drawable

from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.ops.contract import OPERATIONS
