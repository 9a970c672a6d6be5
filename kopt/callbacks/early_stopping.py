"""Keras' early stopping, and a rule that needs no validation data."""

from typing import Any

import keras

from kopt._core import checks
from kopt.callbacks.observing import Observing
from kopt.monitoring.evidence import Evidence
from kopt.monitoring.observer import Observer
from kopt.monitoring.when import every


class EarlyStopping(Observing, keras.callbacks.EarlyStopping):
    """Ends `fit` when a metric has not improved for some epochs, or when gradients are noise only.

    The first is Keras' own callback: all of its arguments mean the same. The second, `evidence`, looks at the real
    step's gradient from time to time and ends the training, also within an epoch, when the average over these looks
    says that chance alone makes such gradients: `kopt.monitoring.Evidence` has the formula. It needs no validation
    data, is experimental, and off by default. Whatever comes first ends the run.

    With `evidence` the metric may be missing, as without validation data; without it, Keras warns.

    Attributes:
        stopped_by: "metric" or "evidence" once one of them has ended the last `fit`; else None.

    Args:
        monitor: Name of the metric.
        min_delta: Smaller changes of the metric are no improvement.
        patience: Epochs without improvement after which to stop.
        verbose: 1 to say when it stops; 0 not to.
        mode: "min", "max", or "auto" to see it from the metric's name.
        baseline: A value that the metric has to be better than.
        restore_best_weights: Whether to end with the weights of the best epoch.
        start_from_epoch: Epochs at the beginning that do not count.
        evidence: Interval in optimizer steps at which to look at gradients, >= 1; or an instance of
            `kopt.monitoring.Evidence` that another callback of this `fit` measures, such as
            `kopt.callbacks.TensorBoard(monitor=[evidence])`: two callbacks cannot look at one step. None for neither.

    Raises:
        ValueError: `evidence` is something else.

    Example:

    ```python
    stopping = kopt.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    by_noise = kopt.callbacks.EarlyStopping(evidence=20)
    ```

    References:
        Prechelt 1998, "Early stopping - but when?"; Mahsereci et al. 2017, https://arxiv.org/abs/1703.09580.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,  # noqa: FBT001, FBT002 - Keras' signature
        start_from_epoch: int = 0,
        *,
        evidence: int | Evidence | None = None,
    ) -> None:
        super().__init__(monitor, min_delta, patience, verbose, mode, baseline, restore_best_weights, start_from_epoch)
        self.stopped_by: str | None = None
        self.evidence = evidence if isinstance(evidence, Evidence) else Evidence()
        advice = "It is an interval in optimizer steps, or a `kopt.monitoring.Evidence`."
        own = evidence is not None and not isinstance(evidence, Evidence)
        rule = every(checks.count("evidence", evidence, advice=advice)) if own else every(1)
        self._uses_evidence = evidence is not None
        self._observer = Observer(lambda *_: None, [self.evidence] if own else [], rule)

    def _begin_fit(self) -> None:
        self.stopped_by = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        self._weigh()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._uses_evidence and self.monitor not in (logs or {}):  # Keras would warn of it.
            self._end_epoch(logs)
        else:
            super().on_epoch_end(epoch, logs)
        if self.stopped_epoch and self.stopped_by is None:
            self.stopped_by = "metric"
        self._weigh()

    def _weigh(self) -> None:
        if self._uses_evidence and self.stopped_by is None and self.evidence.says_stop:
            self.stopped_by = "evidence"
            self._model.stop_training = True
