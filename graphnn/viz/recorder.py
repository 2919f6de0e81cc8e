"""``gn.viz.Recorder``: what happens inside of a graph while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphnn.core.arguments import require_positive
from graphnn.core.errors import RenderError
from graphnn.core.node import Node
from graphnn.core.values import require_entries
from graphnn.train.callbacks import Callback
from graphnn.viz.measure import Probe
from graphnn.viz.measures import MEASURES
from graphnn.viz.overlays import Measurement, Moment

__all__ = ["Recorder"]


class Recorder(Callback):
    """Measures a graph every so many training steps; pictures of it show any of the moments.

    Call it with the feeds of a step after every step, or hand it to :func:`graphnn.train.fit`,
    which feeds it the batches.

    Parameters
    ----------
    thing : Graph, Program, Node, or nested list, tuple or dict of Node
        Such as a loss, or ``gn.Graph(inputs, outputs)``, which says in which order inputs are fed.
    every : int, default 100
        It measures at the first step and at every step whose number is divided by this.
    what, loss, **options
        See :func:`graphnn.viz.measure`.

    Attributes
    ----------
    step : int
        How many steps it has seen.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(4, 3))
    >>> w = gn.parameter(np.ones((3, 2)), name="w", dtype="float32")
    >>> loss = gn.mean(gn.tanh(x @ w) ** 2)
    >>> step = gn.compile(x, loss, updates=gn.optim.SGD(0.1).minimize(loss, [w]))
    >>> recorder = gn.viz.Recorder(loss, every=10, what="gradient norm")
    >>> for _ in range(30):
    ...     feeds = [np.ones((4, 3), "float32")]
    ...     loss_now = step(*feeds)
    ...     recorder(feeds)
    >>> [norms] = recorder.measurements
    >>> [moment.label for moment in norms.moments]
    ['training step 1', 'training step 10', 'training step 20', 'training step 30']
    """

    def __init__(
        self,
        thing: Any,
        every: int = 100,
        what: str | Sequence[str] = tuple(MEASURES),
        *,
        loss: Node | None = None,
        **options: Any,
    ) -> None:
        require_positive("Recorder", every=every)
        self.every = every
        self.step = 0
        self._probe = Probe(thing, what, loss=loss, **options)
        self._runs: list[tuple[Moment, ...]] = []

    def __call__(self, feeds: Any = ()) -> None:
        """A step is done; measure if it is time to.

        Parameters
        ----------
        feeds : sequence or mapping
            See :func:`graphnn.viz.measure`.
        """
        self.step += 1
        if self.step == 1 or self.step % self.every == 0:
            self._runs.append(self._probe.run(feeds, f"training step {self.step}"))

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """Called by :func:`graphnn.train.fit`."""
        self(batch)

    def state_dict(self) -> dict[str, Any]:
        """The number of the step; pictures are of one process."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        require_entries("Recorder", self.state_dict(), state)
        self.step = int(state["step"])

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What has been measured so far: for each measure, all moments on one scale.

        Raises
        ------
        RenderError
            If nothing was.
        """
        if not self._runs:
            raise RenderError(
                "nothing has been recorded yet",
                hint="call the recorder after every step, or fit(..., callbacks=[recorder])",
                where="",
            )
        return self._probe.measurements(self._runs)
