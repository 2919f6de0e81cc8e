"""Derivative rules of your own: for stability, for clipping, and for what has no derivative.

Run it: python examples/custom_rule.py
"""

import numpy as np

import graphnn as gn


@gn.custom_jvp
def log1pexp(x):
    """log(1 + exp(x)), written so that its value is right but its own derivative would be NaN."""
    return gn.where(x > 30.0, x, gn.log(1.0 + gn.exp(x)))


@log1pexp.defjvp
def _(arguments, result, tangents):
    (x,), (dx,) = arguments, tangents
    return dx * gn.sigmoid(x)


@gn.custom_vjp
def clip_gradient(x):
    """The identity; what flows back through it is clipped."""
    return +x


@clip_gradient.defvjp
def _(arguments, result, cotangent):
    return gn.clip(cotangent, -1.0, 1.0)


def main() -> None:
    x = gn.input("x", shape=(4,))
    points = np.array([-100.0, 0.0, 1.0, 100.0], dtype=np.float32)

    plain = gn.where(x > 30.0, x, gn.log(1.0 + gn.exp(x)))
    naive, stable = gn.evaluate(
        [gn.grad(gn.sum(plain), x), gn.grad(gn.sum(log1pexp(x)), x)], {x: points}
    )
    print("derivative of log(1 + exp(x)) as it is written:", naive)
    print("derivative by a rule of one's own:             ", stable)
    assert np.isnan(naive[-1])
    np.testing.assert_allclose(stable, 1 / (1 + np.exp(-points.astype(np.float64))), 1e-5, 1e-30)

    free, clipped = gn.evaluate(
        [gn.grad(gn.sum(x**2), x), gn.grad(gn.sum(clip_gradient(x) ** 2), x)], {x: points}
    )
    print("gradient of sum(x**2):             ", free)
    print("the same with what flows back clipped:", clipped)
    np.testing.assert_array_equal(clipped, np.clip(2 * points, -1, 1))

    through = gn.grad(gn.sum(gn.straight_through(gn.sign(x), x) * 3.0), x)
    print("gradient through sign(x), as if it were x:", gn.evaluate(through, {x: points}))


if __name__ == "__main__":
    main()
