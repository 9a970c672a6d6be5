"""A learning rate that falls when a metric stops improving, with its memory in the optimizer's state."""

from collections.abc import Mapping, Sequence

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.transforms.transform import Slot, State, Tensor, Transform

LARGEST = 2.0**127
"""What is worse than any value: state has to be finite."""


@register
class ReduceOnPlateau(Transform):
    """Multiplies the learning rate by `factor` each time a metric has not improved for `patience` epochs.

    The rate of all later transforms is multiplied, decoupled weight decay included, whatever the learning rate is: a
    number, a schedule, an estimate such as Prodigy's. It belongs in `before=[...]`. Counts, the best value and the
    factor so far are optimizer state: they are saved with the model, and a run that goes on later goes on counting.
    `optimizer.estimates["plateau_factor"]` is the factor so far, which TensorBoard shows as `estimates/plateau_factor`.

    Somebody has to say what an epoch gave. Any kopt callback does so at the end of each epoch of `fit` (with nothing
    else to do, `kopt.callbacks.Report`); a loop of your own calls `optimizer.report({"val_loss": 0.31})`.

    The rule is that of `keras.callbacks.ReduceLROnPlateau`, which refuses schedules, writes into the learning rate and
    forgets its counts on saving. PyTorch's `ReduceLROnPlateau` waits one epoch longer for the same `patience`, its
    cooldown is one epoch longer, and its threshold is relative by default.

    Args:
        monitor: Name of the metric, as `fit` prints it.
        factor: What the rate is multiplied by, in [0, 1).
        patience: Epochs in a row without improvement after which the rate falls, an integer >= 1.
        mode: `"min"` if smaller is better, `"max"` if larger is; `"auto"` takes `"max"` for names with "acc" or "auc".
        min_delta: By how much a value must be better than the best one, >= 0.
        cooldown: Epochs after a fall in which nothing is counted, an integer >= 0.
        min_factor: Bound on the product of all falls, in [0, 1].
        relative: Whether `min_delta` is a share of the best value's size.

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    optimizer = kopt.optimizers.AdamW(
        kopt.schedules.Warmup(1e-3, 500), before=[kopt.transforms.ReduceOnPlateau("val_loss", factor=0.5, patience=3)]
    )
    model.compile(optimizer, "mse")
    model.fit(x, y, validation_split=0.1, epochs=50, callbacks=[kopt.callbacks.Report()])
    ```
    """

    estimates = ("plateau_factor",)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_factor: float = 0.0,
        *,
        relative: bool = False,
    ) -> None:
        self.monitor = checks.text("monitor", monitor)
        self.factor = checks.fraction("factor", factor)
        self.patience = checks.count("patience", patience)
        self.mode = checks.choice("mode", mode, ("auto", "min", "max"))
        self.min_delta = checks.non_negative("min_delta", min_delta)
        self.cooldown = checks.count("cooldown", cooldown, least=0)
        self.min_factor = checks.fraction("min_factor", min_factor, one=True)
        self.relative = checks.flag("relative", relative)

    @property
    def larger_is_better(self) -> bool:
        """Whether the metric is to grow."""
        return self.mode == "max" or (self.mode == "auto" and any(part in self.monitor for part in ("acc", "auc")))

    def own_slots(self) -> Sequence[Slot]:
        return [
            Slot("plateau_factor", (), 1.0),
            Slot("best", (), -LARGEST if self.larger_is_better else LARGEST),
            Slot("wait", ()),
            Slot("cooldown", ()),
            Slot("reports", ()),
        ]

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        return {"rate_factor": ops.convert_to_tensor(own["plateau_factor"])}, own

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u, slots

    def told(self, own: Mapping[str, float], value: float) -> dict[str, float]:
        new = dict(own) | {"reports": own["reports"] + 1}
        if own["cooldown"]:
            new |= {"cooldown": own["cooldown"] - 1, "wait": 0.0}
        if self._is_better(value, own["best"]):
            return new | {"best": value, "wait": 0.0}
        if new["cooldown"]:
            return new
        new["wait"] += 1
        if new["wait"] < self.patience:
            return new
        factor = max(own["plateau_factor"] * self.factor, self.min_factor)
        return new | {"plateau_factor": factor, "wait": 0.0, "cooldown": float(self.cooldown)}

    def _is_better(self, value: float, best: float) -> bool:
        margin = self.min_delta * abs(best) if self.relative else self.min_delta
        return value > best + margin if self.larger_is_better else value < best - margin
