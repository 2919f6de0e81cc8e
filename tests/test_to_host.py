"""Results of a GPU on the host: when somebody asks, and then all of them."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from duck_arrays import OnDevice

import graphnn as gn
from graphnn.core.errors import FeedError


class Pair(NamedTuple):
    """A result with names."""

    first: Any
    second: Any


def test_all_of_a_nested_result_is_brought() -> None:
    ones, two = np.ones(3, np.float32), np.float32(2)
    result = {"pair": Pair(OnDevice(ones), [OnDevice(two), None]), "there": (ones, 5)}
    found = gn.to_host(result)
    assert type(found["pair"]) is Pair
    assert found["pair"].first is ones
    assert found["pair"].second == [two, None]
    assert found["there"][0] is ones  # nothing is copied that is there
    assert found["there"][1] == 5
    assert isinstance(result["pair"].first, OnDevice)


def test_results_of_a_processor_stay_what_they_are() -> None:
    x = gn.input("x", (3,))
    result = gn.compile(x, -x, backend="numpy")([1.0, 2.0, 3.0])
    assert gn.to_host(result) is result


def test_arrays_of_others_are_refused_in_words() -> None:
    tensor = SimpleNamespace(__dlpack_device__=lambda: (2, 0))
    with pytest.raises(FeedError, match=r"SimpleNamespace lies on a GPU.*\n.*\.cpu\(\)"):
        gn.to_host([tensor])


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        np.mean,
        np.sqrt,
        lambda array: array == np.zeros(2),
        lambda array: np.zeros(2) - array,
        lambda array: np.stack([array, array]),
        lambda array: array[0],
        lambda array: array.argmax(),
        list,
    ],
)
def test_the_stand_in_of_a_result_is_nothing_that_numpy_takes(use: Any) -> None:
    """Else it would prove nothing that examples live with it."""
    use(np.zeros(2))
    with pytest.raises((TypeError, AttributeError), match=r"implicit|OnDevice"):
        use(OnDevice(np.zeros(2)))
