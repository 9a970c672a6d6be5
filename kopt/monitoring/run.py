"""The run's own numbers: rates, other hyperparameters, estimates, losses."""

from keras import ops

from kopt.monitoring.quantity import Numbers, Quantity, SeenStep


class Rates(Quantity):
    """The numbers that the optimizer used in the step, and what it estimates by itself after it.

    Tags: `learning_rate`, `learning_rate/<group>`; `hyperparameters/<name>` for what follows a schedule;
    `estimates/<name>`, such as Prodigy's `distance`; `loss_scale`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def in_step(self, seen: SeenStep) -> Numbers:
        step = seen.step
        found: Numbers = {f"{tag}{seen.suffix}": value for tag, value in (step.learning_rates | step.estimates).items()}
        if step.loss_scale is not None:
            found[f"loss_scale{seen.suffix}"] = step.loss_scale
        return found


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
