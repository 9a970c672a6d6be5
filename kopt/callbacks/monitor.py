"""Logs gradients and metrics to files and servers, for people without TensorBoard."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kopt._core import checks
from kopt.callbacks.observing import Observing
from kopt.callbacks.sinks import FanOut, Sink
from kopt.monitoring.buckets import BUCKET_EDGES
from kopt.monitoring.observer import Observer
from kopt.monitoring.quantity import Quantity


class Monitor(Observing):
    """Sends the gradients of real training steps, and each epoch's metrics, to sinks of your choice.

    At optimizer steps 1, n, 2n, ... the sinks get what `kopt.callbacks.TensorBoard` logs there, under the same tags:
    norms of gradients, weights and updates, learning rates, losses. When an epoch ends they get `epoch` (from 0, as in
    Keras' `History`), `epoch_<metric>`, `epoch_val_<metric>` and `epoch_learning_rate`, all at the optimizer step that
    the epoch ended with: every number has the same x-axis, and those of an epoch have its number beside them.

    What the step computes is not changed. A sink that fails (a full disk, a server that does not answer) is warned
    about once per `fit`; training, and the other sinks, go on. To log to TensorBoard as well, use
    `kopt.callbacks.TensorBoard(log_dir, sinks=[...])` instead.

    Args:
        sinks: Where the numbers go: `kopt.callbacks.JSONLines`, `CSV`, `MLflow`, `WandB`, or instances of your own
            subclasses of `kopt.callbacks.Sink`.
        gradients: Interval n in optimizer steps; 0 turns gradient logging off.
        gradient_histograms: Whether to send histograms of the gradients, as `gradients/<path>`, as well.
        monitor: What to look at: `"economy"`, `"business"`, `"full"` or a list of `kopt.monitoring` quantities; by
            default norms and statistics.
        every: An interval in optimizer steps or a rule, in place of `gradients`.
        include: Regular expression; only variables and layers whose paths match are shown one by one.
        exclude: Regular expression of those that are not.

    Raises:
        ValueError: `sinks` is empty or holds something else, or another argument is out of its range.

    Example:

    ```python
    model.fit(x, y, epochs=10, callbacks=[kopt.callbacks.Monitor([kopt.callbacks.JSONLines("logs/first.jsonl")])])
    ```
    """

    def __init__(
        self,
        sinks: Iterable[Sink],
        *,
        gradients: int = 100,
        gradient_histograms: bool = False,
        monitor: str | Sequence[Quantity] | None = None,
        every: Callable[[int], bool] | int | None = None,
        include: str | None = None,
        exclude: str | None = None,
    ) -> None:
        super().__init__()
        self._sinks = FanOut(sinks, BUCKET_EDGES)
        if not self._sinks:
            raise checks.fail("sinks", "a list of one sink or more", sinks)
        interval = checks.count(
            "gradients", gradients, least=0, advice="It is an interval in optimizer steps; 0 is off."
        )
        self._observer = Observer.of(
            self._sinks.deliver,
            gradients=interval,
            gradient_histograms=checks.flag("gradient_histograms", gradient_histograms),
            monitor=monitor,
            every=every,
            include=include,
            exclude=exclude,
        )

    def _begin_fit(self) -> None:
        self._sinks.open(self.model, self.params)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self._sinks.epoch(epoch, self.model, logs)

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        self._sinks.close()
