"""Random graphs of complex numbers and their gradients: rules that hold for real numbers alone."""

import pytest
from complex_graphs import ONE, TWO, Recipe, Step, check_compilation, recipes
from hypothesis import HealthCheck, assume, given, settings

in_ci = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow],
)


@in_ci
@given(recipes)
def test_optimised_programs_compute_the_same(recipe: Recipe) -> None:
    assume(check_compilation(recipe))


# Every operator of the pool alone, with its gradient: none of them may hide behind the drawing.
@pytest.mark.parametrize("operator", range(len(ONE) + len(TWO)))
def test_every_operator_of_the_pool(operator: int) -> None:
    assert check_compilation(Recipe(1, (Step(operator, 0, 1),), True))
