"""The run's own numbers: rates, other hyperparameters, estimates, losses."""

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from kopt._backend import watch
from kopt.monitoring.quantity import Kept, Numbers, Quantity, SeenStep


class Rates(Quantity):
    """The numbers that the optimizer used in the step, and what it estimates by itself after it.

    Tags: `learning_rate`, `learning_rate/<group>`; `hyperparameters/<name>` for what follows a schedule, and for
    momentum, the first beta and weight decay (`hyperparameters/weight_decay/<group>`) also where they are constant;
    `estimates/<name>`, such as Prodigy's `distance`; `loss_scale`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._constants: dict[str, float] = {}

    def in_step(self, seen: SeenStep) -> Numbers:
        step = seen.step
        found: Numbers = {f"{tag}{seen.suffix}": value for tag, value in (step.learning_rates | step.estimates).items()}
        if step.loss_scale is not None:
            found[f"loss_scale{seen.suffix}"] = step.loss_scale
        return found

    def begin(self, model: Any) -> None:
        optimizers = watch.optimizers_of(model)
        self._constants = {}
        for name, optimizer in optimizers.items():
            suffix = f"/{name}" if len(optimizers) > 1 else ""
            constants = watch.constant_hyperparameters(optimizer)
            self._constants |= {f"{tag}{suffix}": value for tag, value in constants.items()}

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        return {tag: value for tag, value in self._constants.items() if tag not in numbers}


class Losses(Quantity):
    """The losses of the step's own batch: in total, of each output where there are several, of the weights' penalties.

    Tags: `loss/total` (penalties included), `loss/<output>`, `loss/regularization`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def in_step(self, seen: SeenStep) -> Numbers:
        found: Numbers = {tag: v for tag, v in seen.numbers.items() if isinstance(tag, str) and tag.startswith("loss/")}
        penalties = [
            ops.sum(ops.cast(variable.regularizer(value), "float32"))
            for variable, value in zip(seen.step.variables, seen.step.before, strict=True)
            if getattr(variable, "regularizer", None) is not None
        ]
        if penalties:
            found[f"loss/regularization{seen.suffix}"] = ops.sum(ops.stack(penalties))
        return found
