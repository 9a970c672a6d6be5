"""What every kopt callback does when an epoch ends: it tells the optimizer what the epoch gave."""

import warnings
from collections.abc import Mapping
from typing import Any

import keras

from kopt._backend import watch
from kopt.callbacks.guard import stop_if_stuck
from kopt.callbacks.run_length import tell_run_length
from kopt.optimizers import ComposedOptimizer


class Report(keras.callbacks.Callback):
    """Tells the optimizer what it cannot see: how long the run is, and what each epoch gave.

    Schedules in fractions of the run need the first, `kopt.transforms.ReduceOnPlateau` the second. All of kopt's
    callbacks do both; this one does nothing else. As they do, it ends a run in which `SkipNonFinite` leaves out every
    step.

    Example:

    ```python
    model.fit(x, y, epochs=10, validation_split=0.1, callbacks=[kopt.callbacks.Report()])
    ```
    """

    def on_train_begin(self, logs: Any = None) -> None:
        tell_run_length(self.model, self.params)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        stop_if_stuck(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        tell_metrics(self.model, logs)


def tell_metrics(model: Any, logs: Mapping[str, float] | None) -> None:
    """Tells the model's optimizers the metrics of an epoch, once, however many callbacks call this.

    A metric that the epoch did not give, as without validation, is warned about.
    """
    logs = logs or {}
    for part in watch.inner_optimizers(model.optimizer):
        if not isinstance(part, ComposedOptimizer) or not part.listens_to:
            continue
        missing = sorted(part.listens_to - logs.keys())
        if missing:
            warnings.warn(
                f"The optimizer waits for `{missing[0]}`, which this epoch did not give. It gave: "
                f"{', '.join(f'`{name}`' for name in logs)}.",
                stacklevel=3,
            )
        elif part.__dict__.get("_reported_at") != (now := watch.micro_steps(part)):
            part.__dict__["_reported_at"] = now
            part.report(logs)
