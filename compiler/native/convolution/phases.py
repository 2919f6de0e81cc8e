"""Convolutions over arrays with gaps, such as gradients of strided ones, taken apart by phase.

Places whose distance is a period meet the same taps. With a gap of 2, for example, even places
meet the even taps and odd places the odd ones: two ordinary convolutions, of half the places and
about half the taps each. A place becomes two axes, one that counts periods and one of phases; the
elements and taps that a phase begins with are in a table. So no zero in a gap is multiplied, and
neighbouring places, a period apart, lie along vectors and in registers.
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from graphnn.compiler.kernel import Bound, Contraction, Index, Kernel, Operand
from graphnn.compiler.native.convolution.windows import Phased, Taps

__all__ = ["with_phases"]


def with_phases(contraction: Contraction) -> Contraction:
    """The same contraction, with an axis of phases for every array with gaps.

    Those whose epilogue asks for positions along the places stay as they are.
    """
    asked = {each.axis for each in contraction.epilogue.values if isinstance(each, Index)}
    for number, bound in enumerate(contraction.bounds):
        free = [axis for axis in range(len(contraction.sizes)) if axis not in contraction.summed]
        if bound.x_dilation > 1 and free.index(bound.place) not in asked:
            contraction = _split(contraction, number, free.index(bound.place))
    return contraction


def _split(contraction: Contraction, number: int, domain_axis: int) -> Contraction:
    bound, sizes = contraction.bounds[number], list(contraction.sizes)
    period = bound.x_dilation // gcd(bound.stride, bound.x_dilation)
    n_places, n_taps = sizes[bound.place], sizes[bound.tap]
    sizes[bound.place] = -(-n_places // period)
    every = bound.x_dilation // gcd(bound.dilation, bound.x_dilation)
    phased = Phased(
        bound.place,
        bound.tap,
        bound.stride * period // bound.x_dilation,
        bound.dilation * every // bound.x_dilation,
        0,
        bound.size,
        1,
        bound.step,
        phase=len(sizes),
        begins=tuple(_begin(bound, n_taps, every, phase) for phase in range(period)),
        every=every,
        n_places=n_places,
    )
    bounds = list(contraction.bounds)
    bounds[number] = phased
    epilogue = contraction.epilogue
    operands = []
    for each in epilogue.operands:
        strides = list(each.strides)
        strides.append(strides[domain_axis])
        strides[domain_axis] *= period
        operands.append(Operand(each.dtype, tuple(strides)))
    domain = list(epilogue.sizes)
    domain[domain_axis] = sizes[bound.place]
    left, right = contraction.left, contraction.right
    return replace(
        contraction,
        sizes=(*sizes, period),
        left=Operand(left.dtype, (*left.strides, 0)),
        right=Operand(right.dtype, (*right.strides, 0)),
        epilogue=Kernel((*domain, period), (), tuple(operands), epilogue.values, epilogue.stores),
        bounds=tuple(bounds),
    )


def _begin(bound: Bound, n_taps: int, every: int, phase: int) -> Taps:
    for first in range(min(every, n_taps)):
        at = bound.stride * phase + bound.dilation * first - bound.low
        element, rest = divmod(at, bound.x_dilation)
        if rest == 0:
            return Taps(first, -(-(n_taps - first) // every), element)
    return Taps(0, 0, 0)
