"""vmap: every operation and random graphs against a stacked loop; nesting, errors, structures."""

import pytest
from batching import check_batching
from checks import BACKENDS
from drawing import Case, cases


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_vmap_is_a_stacked_loop(case: Case, backend: str) -> None:
    check_batching(case, backend)
