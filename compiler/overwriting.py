"""When an instruction may write a result over what it reads."""

from __future__ import annotations

from graphnn.compiler.kernel import Apply, Contraction, Index, Kernel, Load, Reduce
from graphnn.compiler.unit import Buffer, Instruction

__all__ = ["may_overwrite"]


def may_overwrite(instruction: Instruction, output: int, read: Buffer) -> bool:
    """Whether an output may lie where a buffer lies that is read for the last time.

    Every point must read there what it writes there, and nothing else; and no later sweep over
    the row may read it again. Another buffer has then the same memory, from its first byte.

    Parameters
    ----------
    instruction : Instruction
    output : int
        Which of its outputs.
    read : Buffer
    """
    written, kernel = instruction.outputs[output], instruction.kernel
    if not written.is_whole or written.buffer.nbytes != read.nbytes:
        return False
    if kernel is None:
        return instruction.kind == "kernel" and all(
            view.is_whole and (view.shape, view.nbytes) == (written.shape, written.nbytes)
            for view in instruction.inputs
            if view.buffer == read
        )
    inputs = instruction.inputs
    if isinstance(kernel, Contraction):
        n_factors = kernel.n_factor_operands
        if any(view.buffer == read for view in inputs[:n_factors]):
            return False
        kernel, inputs = kernel.epilogue, inputs[n_factors:]
    target = kernel.operands[len(inputs) + output]
    return _is_written_last(kernel, len(inputs) + output) and all(
        operand.strides == target.strides
        and view.offset == written.offset
        and view.dtype.itemsize == written.dtype.itemsize
        for view, operand in zip(inputs, kernel.operands, strict=False)
        if view.buffer == read
    )


def _is_written_last(kernel: Kernel, operand: int) -> bool:
    """Whether a store happens in the last sweep over a row, or after it.

    Between sweeps are the values that do not move along the reduced axes: what comes after
    ``n`` reductions is computed at time ``2 n``, the sweep behind it takes place at ``2 n + 1``.
    """
    moves: list[bool] = []
    depth: list[int] = []
    for value in kernel.values:
        match value:
            case Load(number):
                moves.append(any(kernel.operands[number].strides[axis] for axis in kernel.reduced))
                depth.append(0)
            case Index(axis):
                moves.append(axis in kernel.reduced)
                depth.append(0)
            case Apply(_, _, args):
                moves.append(any(moves[arg] for arg in args))
                depth.append(max((depth[arg] for arg in args), default=0))
            case Reduce(_, arg):
                moves.append(False)
                depth.append(depth[arg] + 1)
            case _:
                moves.append(False)
                depth.append(0)
    number = next(value for place, value in kernel.stores if place == operand)
    moves_store = any(kernel.operands[operand].strides[axis] for axis in kernel.reduced)
    last = max(2 * deep + moving for deep, moving in zip(depth, moves, strict=True))
    return 2 * depth[number] + moves_store >= last
