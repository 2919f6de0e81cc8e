"""Random graphs, their gradients and state updates: optimised programs against the interpreter."""

import pytest
from hypothesis import HealthCheck, given, settings
from random_graphs import Recipe, check_compilation, recipes

in_ci = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# A fixed number of examples, always the same: a quarter of a minute each at most.
@pytest.mark.parametrize(
    ("narrow", "examples"),
    [("float32", 250), ("float64", 120), ("float16", 60), ("bfloat16", 60)],
)
def test_optimised_programs_compute_the_same(narrow: str, examples: int) -> None:
    @settings(in_ci, max_examples=examples)
    @given(recipes)
    def check(recipe: Recipe) -> None:
        check_compilation(recipe, narrow)

    check()
