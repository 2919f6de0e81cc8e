"""Features on one scale: fitted to the training part, applied to all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from graphnn.core.arrays import as_array
from graphnn.core.errors import ArgumentError, CheckpointError, ShapeError
from graphnn.core.op import Array
from graphnn.core.spec import shape_text

__all__ = ["Standardizer"]


class Standardizer:
    """Shifts and scales features to mean 0 and standard deviation 1.

    It is fitted to the training part alone and then applied to all: what is known of the test
    part must not leak into training. Features that are constant are only shifted.

    Parameters
    ----------
    axis : int or tuple of int, default 0
        What mean and deviation are taken over. The first axis gives every feature its own; of
        pictures in the order (samples, channels, height, width), ``(0, 2, 3)`` gives every channel
        its own.

    Attributes
    ----------
    mean, std : numpy.ndarray
        Of every feature, float64.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = np.array([[1.0], [3.0]])
    >>> scale = gn.data.Standardizer().fit(x)
    >>> scale.transform(x).tolist(), scale.inverse_transform([[0.0]]).tolist()
    ([[-1.0], [1.0]], [[2.0]])

    It is saved with the weights of a network, or by itself:

    >>> np.savez("scale.npz", **scale.state_dict())
    >>> again = gn.data.Standardizer()
    >>> again.load_state_dict(gn.data.read_npz("scale.npz"))
    >>> again.transform(x).tolist()
    [[-1.0], [1.0]]
    """

    mean: Array
    std: Array

    def __init__(self, axis: int | tuple[int, ...] = 0) -> None:
        self.axis = axis

    def fit(self, x: Any) -> Self:
        """Take mean and standard deviation, in float64.

        Raises
        ------
        ShapeError
            If there are no samples, or an axis is not there.
        ArgumentError
            If a feature has NaNs or infinities.
        """
        array = as_array(x)
        if array.ndim == 0 or array.size == 0:
            raise ShapeError("Standardizer: there are no samples to fit to")
        try:
            axes = normalize_axis_tuple(self.axis, array.ndim)
        except ValueError as error:
            raise ShapeError(f"Standardizer: x is {shape_text(array.shape)}: {error}") from None
        mean = array.mean(axis=axes, dtype=np.float64, keepdims=True)
        if not np.isfinite(mean).all():
            raise ArgumentError(
                f"Standardizer: {np.sum(~np.isfinite(mean))} of {mean.size} features have NaNs or "
                "infinities",
                hint="leave out these samples, or fill in what is missing, before fitting",
            )
        std = array.std(axis=axes, dtype=np.float64, keepdims=True)
        # Not where std is 0: that of equal numbers may be a rounding error.
        constant = array.max(axis=axes, keepdims=True) == array.min(axis=axes, keepdims=True)
        std = np.where(constant, 1.0, std)
        # Without the axis of samples, one sample is transformed as well as many.
        self.mean, self.std = (mean.squeeze(0), std.squeeze(0)) if 0 in axes else (mean, std)
        return self

    def transform(self, x: Any) -> Array:
        """Standardise; floats keep their dtype, integers become float64."""
        array = self._fitted(x)
        return ((array - self.mean) / self.std).astype(_float(array), copy=False)

    def inverse_transform(self, x: Any) -> Array:
        """Undo :meth:`transform`."""
        array = self._fitted(x)
        return (array * self.std + self.mean).astype(_float(array), copy=False)

    def state_dict(self) -> dict[str, Array]:
        """Copies of mean and deviation, by name."""
        self._require_fitted()
        return {"mean": self.mean.copy(), "std": self.std.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another one was fitted to.

        Raises
        ------
        CheckpointError
            If something is missing or superfluous, the shapes differ, or these are no means and
            deviations.
        """
        if set(state) != {"mean", "std"}:
            raise CheckpointError(
                f"Standardizer: the state has {sorted(state)}, not ['mean', 'std']"
            )
        mean, std = (np.array(state[name], np.float64) for name in ("mean", "std"))
        if mean.shape != std.shape:
            raise CheckpointError(
                f"Standardizer: the mean is {shape_text(mean.shape)}, the deviation "
                f"{shape_text(std.shape)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise CheckpointError(
                "Standardizer: means are finite, and deviations finite and above 0"
            )
        self.mean, self.std = mean, std

    def _require_fitted(self) -> None:
        if not hasattr(self, "mean"):
            raise ArgumentError("Standardizer: it is not fitted yet", hint="call fit(x) first")

    def _fitted(self, x: Any) -> Array:
        self._require_fitted()
        array = as_array(x)
        shape = self.mean.shape
        sizes = zip(reversed(shape), reversed(array.shape), strict=False)
        if len(shape) > array.ndim or any(size not in (1, given) for size, given in sizes):
            raise ShapeError(
                f"Standardizer: it was fitted to features of shape {shape_text(shape)}, "
                f"x is {shape_text(array.shape)}"
            )
        return array


def _float(array: Array) -> Any:
    return array.dtype if array.dtype.kind == "f" else np.float64
