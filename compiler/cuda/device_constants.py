"""Constants on a device: one copy of each, whatever number of programs and sizes read it."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from graphnn.compiler.cuda.device import Device
from graphnn.core.node import Node
from graphnn.core.op import Array

__all__ = ["DeviceConstant", "constant_on", "uploaded"]


class DeviceConstant:
    """An array on a device, while somebody holds this.

    Attributes
    ----------
    memory
        What the device has allocated.
    """

    __slots__ = ("__weakref__", "_array", "memory")

    def __init__(self, array: Array, memory: Any) -> None:
        # Held, so that no other array is known by its identity meanwhile.
        self._array, self.memory = array, memory


_CONSTANTS: WeakValueDictionary[tuple[Device, int], DeviceConstant] = WeakValueDictionary()
"""By the device and the identity of the array on the host."""


def constant_on(device: Device, node: Node) -> DeviceConstant:
    """A constant's value on a device, uploaded if nobody holds it there."""
    array = node.attrs["value"].array
    found = _CONSTANTS.get((device, id(array)))
    if found is None:
        found = DeviceConstant(array, uploaded(device, array))
        _CONSTANTS[device, id(array)] = found
    return found


def uploaded(device: Device, array: Array) -> Any:
    """New memory of a device with the elements of an array of the host."""
    memory = device.allocate(array.nbytes)
    device.upload(np.ascontiguousarray(array), device.address(memory))
    return memory
