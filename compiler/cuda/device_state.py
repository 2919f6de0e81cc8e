"""State on a device: where the current value of a parameter is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from graphnn.compiler.cuda.device import Device
from graphnn.core.op import Array
from graphnn.core.state import Parameter

__all__ = ["DeviceHome", "bring_here"]


_MEMORY: WeakKeyDictionary[Parameter, dict[int, DeviceHome]] = WeakKeyDictionary()
"""For every parameter that has been on a device, by the device's identity: what programs know the
address of stays theirs when the value goes away and comes back."""


class DeviceHome:
    """The memory on a device that holds a parameter's current value.

    Attributes
    ----------
    device : Device
    memory
        What the device has allocated.
    """

    def __init__(self, device: Device, memory: Any) -> None:
        self.device, self.memory = device, memory

    def fetch(self, into: Array) -> None:
        """Copy the value to the host."""
        self.device.download(self.device.address(self.memory), into)


def bring_here(parameters: Sequence[Parameter], device: Device) -> list[Any]:
    """The memory of parameters on a device; those that are elsewhere move there."""
    found = []
    for each in parameters:
        home = each.home
        if not (isinstance(home, DeviceHome) and home.device is device):
            home = _moved(each, device)
        found.append(home.memory)
    return found


def _moved(parameter: Parameter, device: Device) -> DeviceHome:
    """Bring one parameter to a device: to the memory that it had there before, if it had any."""
    known = _MEMORY.setdefault(parameter, {})
    home = known.get(id(device))
    if home is None:
        home = known[id(device)] = DeviceHome(device, device.allocate(parameter.tensor.nbytes))
    device.upload(parameter.array, device.address(home.memory))
    parameter.move_to(home)
    return home
