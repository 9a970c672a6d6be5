"""What to look at: the interface of a quantity, what a step shows to it, and what is kept of the step for later."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from keras import ops

from kopt._backend import adapter_module, watch
from kopt.monitoring.batch_loss import BatchLoss
from kopt.monitoring.when import as_when

HIDDEN = "_"
"""Tags that begin so are for `after_step` and are not shown."""
Numbers = dict[str | tuple[str, ...], Any]
"""Numbers by tag as tensors: a scalar under one tag, or a vector under as many as it has elements."""


def difference(before: Any, after: Any) -> Any:
    """Returns what a step has subtracted from a variable, in float32."""
    return ops.cast(before, "float32") - ops.cast(after, "float32")


@dataclass
class SeenStep:
    """One optimizer step while it runs; all numbers are tensors, and may be those of a step that is being compiled.

    Attributes:
        step: The step.
        paths: The variables' paths, unique, without the model's name, in the order of `step.variables`.
        chosen: Positions of the variables that the user wants to see one by one.
        clipped: Returns the gradients as the optimizer's clipping leaves them.
        numbers: What was noted on the way: losses, and what quantities saw of layers.
        suffix: What follows a tag that belongs to no variable, where several optimizers take steps: `/<name>`.
    """

    step: watch.Step
    paths: list[str]
    chosen: list[int]
    clipped: Callable[[], list[Any]]
    numbers: Numbers
    suffix: str = ""

    @cached_property
    def gradient_squares(self) -> Any:
        """The sum of squares of each gradient's elements, as a float32 vector."""
        return adapter_module.square_sums(self.step.gradients)

    @cached_property
    def weight_squares(self) -> Any:
        """The same of the weights before the step."""
        return adapter_module.square_sums(self.step.before)

    @cached_property
    def update_squares(self) -> Any:
        """The same of the updates."""
        return adapter_module.square_sums(
            [difference(x, new) for x, new in zip(self.step.before, self.step.after, strict=True)]
        )

    def each(self, family: str, values: Any) -> Numbers:
        """Returns a vector with one number for each variable, under the tags `<family>/<path>` of the chosen ones."""
        if len(self.chosen) < len(self.paths):
            values = ops.take(values, self.chosen) if self.chosen else values[:0]
        return {tuple(f"{family}/{self.paths[i]}" for i in self.chosen): values}


@dataclass
class Kept:
    """What a step left on the device for quantities that look at it afterwards.

    Attributes:
        step: Number of the step.
        paths: Of the variables that got gradients, in order.
        chosen: Positions of those that the user wants to see one by one.
        tensors: Lists of tensors by name, as far as asked for (`Quantity.keeps`), of the variables that got gradients.
        loss: The loss of the step's own batch as a function of the weights; None unless asked for.
        trained: Paths of the variables that `loss` is a function of, in order.
        accumulation: Batches to an optimizer step.
        examples: Examples in the batch, over all replicas.
        waited: Seconds that the step waited for its data; None if that cannot be seen.
        taken: When its numbers had arrived, on the clock of `time.perf_counter`; None if nobody waited for them.
    """

    step: int
    paths: list[str]
    chosen: list[int]
    tensors: Mapping[str, Sequence[Any]]
    loss: BatchLoss | None
    trained: list[str]
    accumulation: int
    examples: int
    waited: float | None
    taken: float | None


class Quantity:
    """Something to see in a training step: a pure function, in four places of which a subclass fills one or more.

    Attributes:
        pairs: Whether each look needs the step before it too.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    pairs: ClassVar[bool] = False

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        self.when = None if when is None else as_when("when", when)

    def keeps(self, accumulation: int) -> frozenset[str]:
        """Returns what of the step must stay on the device for `after_step`.

        Any of `"gradients"`, `"last_gradients"` (of the last micro-batch alone), `"before"` and `"after"` (values of
        the variables), and `"loss"`, which holds the batch and copies of all weights.

        Args:
            accumulation: Batches to an optimizer step.
        """
        return frozenset()

    def unsupported(self, model: Any) -> str | None:
        """Returns why the quantity cannot be measured for a model, or None."""
        several = adapter_module.replicas_of(model) > 1
        if several and self.keeps(1):
            return "nothing is kept of a step that several replicas take together."
        return None

    def in_forward(self, layer: Any, path: str, outputs: Any) -> Numbers:
        """Returns numbers by tag, of a layer's outputs on the way forward of the real step."""
        return {}

    def in_loss(self, x: Any, y: Any, y_pred: Any) -> Numbers:
        """Returns numbers by tag, of a batch and what the model makes of it, where the real step asks for its loss.

        Args:
            x: Inputs, as the model takes them.
            y: Targets; None where there are none.
            y_pred: What the model has put out, in training mode.
        """
        return {}

    def in_step(self, seen: SeenStep) -> Numbers:
        """Returns numbers by tag; runs inside the real step, and is compiled with it."""
        return {}

    def counts_in_step(self, seen: SeenStep) -> dict[str, Any]:
        """Returns bucket counts by tag, of shape (len(BUCKET_EDGES) - 1,); runs inside the real step."""
        return {}

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        """Returns more numbers by tag, from those of the step, or from what was kept of it; runs after the step."""
        return {}

    def begin(self, model: Any) -> None:
        """Runs when a `fit` starts: forgets what was held between steps."""

    def begin_epoch(self, step: int) -> None:
        """Runs when an epoch begins, with the number of optimizer steps taken."""

    @property
    def looks_forward(self) -> bool:
        """Whether it wants to see the outputs of layers."""
        return type(self).in_forward is not Quantity.in_forward

    @property
    def looks_at_the_loss(self) -> bool:
        """Whether it wants to see targets and predictions."""
        return type(self).in_loss is not Quantity.in_loss
