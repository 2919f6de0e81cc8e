"""One expression: its value, gradient, directional derivative and Hessian, all of them graphs.

Run it: python examples/expression.py
"""

import numpy as np

import graphnn as gn


def main() -> None:
    # f(x) = sum(exp(-x**2) * sin(3 * x)), declared once; nothing runs yet.
    x = gn.input("x", shape=(3,))
    v = gn.input("v", shape=(3,))
    f = gn.sum(gn.exp(-(x**2)) * gn.sin(3.0 * x)).named("f")
    print(gn.Graph([x], [f]), end="\n\n")

    gradient = gn.grad(f, x)  # reverse mode
    along_v = gn.jvp(f, x, v)  # forward mode: how f changes in the direction v
    hessian = gn.hessian(f, x)  # forward over reverse
    program = gn.compile(
        [x, v], {"f": f, "gradient": gradient, "along v": along_v, "Hessian": hessian}
    )

    point = np.array([0.1, 0.5, -0.8], dtype=np.float32)
    direction = np.array([1.0, 0.0, 2.0], dtype=np.float32)
    result = gn.to_host(program(point, direction))
    for name, value in result.items():
        print(f"{name} =\n{value}" if value.ndim == 2 else f"{name} = {value}")

    # By hand: f is a sum over elements, so the Hessian is diagonal.
    bell, wave, slope = np.exp(-(point**2)), np.sin(3 * point), np.cos(3 * point)
    expected = bell * (3 * slope - 2 * point * wave)
    np.testing.assert_allclose(result["gradient"], expected, rtol=1e-5)
    np.testing.assert_allclose(result["along v"], expected @ direction, rtol=1e-5)
    second = bell * ((4 * point**2 - 11) * wave - 12 * point * slope)
    np.testing.assert_allclose(result["Hessian"], np.diag(second), rtol=1e-4, atol=1e-6)
    print("\nall equal the derivatives computed by hand")


if __name__ == "__main__":
    main()
