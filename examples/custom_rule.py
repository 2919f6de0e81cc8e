"""Derivative rules of your own: for stability, for clipping, and for what has no derivative.

Run it: python examples/custom_rule.py
"""

import numpy as np

import graphnn as gn


def plain_sinc(x):
    """sin(x) / x, and 1 at 0: the value is right, but the derivative of 0 / 0 is NaN."""
    return gn.where(gn.equal(x, 0.0), 1.0, gn.sin(x) / x)


sinc = gn.custom_jvp(plain_sinc)


@sinc.defjvp
def _(arguments, result, tangents):
    (x,), (dx,) = arguments, tangents
    is_zero = gn.equal(x, 0.0)
    slope = (gn.cos(x) - result) / gn.where(is_zero, 1.0, x)
    return dx * gn.where(is_zero, 0.0, slope)


@gn.custom_vjp
def clip_gradient(x):
    """The identity; what flows back through it is clipped."""
    return +x


@clip_gradient.defvjp
def _(arguments, result, cotangent):
    return gn.clip(cotangent, -1.0, 1.0)


def main() -> None:
    x = gn.input("x", shape=(4,))
    points = np.array([-3.0, 0.0, 0.25, 100.0], dtype=np.float32)

    naive, right = gn.evaluate(
        [gn.grad(gn.sum(plain_sinc(x)), x), gn.grad(gn.sum(sinc(x)), x)], {x: points}
    )
    print("derivative of sin(x) / x as it is written:", naive)
    print("derivative by a rule of one's own:        ", right)
    assert np.isnan(naive[1])
    assert right[1] == 0.0
    np.testing.assert_array_equal(np.delete(right, 1), np.delete(naive, 1))

    free, clipped = gn.evaluate(
        [gn.grad(gn.sum(x**2), x), gn.grad(gn.sum(clip_gradient(x) ** 2), x)], {x: points}
    )
    print("gradient of sum(x**2):               ", free)
    print("the same with what flows back clipped:", clipped)
    np.testing.assert_array_equal(clipped, np.clip(2 * points, -1, 1))

    through = gn.grad(gn.sum(gn.straight_through(gn.sign(x), x) * 3.0), x)
    print("gradient through sign(x), as if it were x:", gn.evaluate(through, {x: points}))


if __name__ == "__main__":
    main()
