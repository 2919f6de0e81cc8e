"""Programs on a device that look at their values: ``debug="nan"`` and ``debug="verify"``.

After every instruction its results are brought to the host, which waits for the device each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphnn.compiler.backends.failure import require_finite
from graphnn.compiler.backends.instruction_check import InstructionCheck
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda.device import Device
from graphnn.compiler.unit import Unit

__all__ = ["device_executable"]


def device_executable(unit: Unit, device: Device) -> DeviceExecutable:
    """A unit on a device, as its options want it."""
    made = {"": DeviceExecutable, "nan": FiniteExecutable, "verify": VerifyingDeviceExecutable}
    return made[unit.options.debug](unit, device)


class FiniteExecutable(DeviceExecutable):
    """Stops at the first NaN or infinity."""

    def _carry_out(self, number: int) -> None:
        super()._carry_out(number)
        for each in self._done_by(number):
            require_finite(each.node, map(self._on_host, each.outputs))


class VerifyingDeviceExecutable(DeviceExecutable):
    """Compares what the device gives with what the operators' own kernels give.

    Every instruction starts from what the device gave before it. Factors of products are not
    rounded, whatever ``matmul_precision`` says.
    """

    def __init__(self, unit: Unit, device: Device) -> None:
        options = replace(unit.options, matmul_precision="float32")
        super().__init__(replace(unit, options=options), device)
        self._number = {id(each): n for n, each in enumerate(self._unit.instructions)}

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """See `Executable.run`; state is as it was if a comparison fails."""
        before = [each.value for each in self._unit.updated]
        try:
            return super().run(feeds)
        except Exception:
            for parameter, value in zip(self._unit.updated, before, strict=True):
                parameter.value = value
            raise

    def _carry_out(self, number: int) -> None:
        checks = [
            InstructionCheck.before(self._number[id(each)], each, self._on_host)
            for each in self._done_by(number)
        ]
        super()._carry_out(number)
        for check in checks:
            check.after(self._on_host, "cuda")
