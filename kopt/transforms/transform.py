"""What a transform is: pure mathematics from one update to the next, with the state it needs declared beside it.

A transform is to kopt what a `GradientTransformation` is to optax and what one line of a paper's pseudocode is to its
reader. The driver (`kopt.optimizers.ComposedOptimizer`) owns variables, steps and backends; a transform owns none.
"""

import abc
import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from keras import ops

from kopt._core.configured import Configured, Schedule

Tensor = Any
State = dict[str, Tensor]


class Slot(NamedTuple):
    """One tensor of state.

    Attributes:
        name: What the paper's reader would call it, such as `"momentum"`.
        shape: None for the shape of the variable.
        start: The number it is filled with; `"variable"` for a copy of the variable's value at the first step (not at
            build: weights may be loaded in between); `"decided"` for the variable's number among those of `decide`.
    """

    name: str
    shape: tuple[int, ...] | None = None
    start: float | Literal["variable", "decided"] = 0.0


class Transform(Configured, abc.ABC):
    """Turns one update into the next; the first update of a chain is the gradient, the last is subtracted.

    State is float32 (float64 for float64 variables) whatever the dtype of the variable, and so is all arithmetic.

    Attributes:
        elementwise: Whether `update` gives the same numbers for a variable flattened or joined with others.
        acts_on: Where `after=[...]` puts the transform in a named optimizer: `"direction"` (before weight decay and the
            learning rate) or `"step"` (what is about to be subtracted from the weights).
        clips: Whether the transform only clips gradients: the monitor reports norms before and after it.
        decays: Whether all that the transform does is weight decay: what acts on the direction stands in front of it.
        batches: Whether `update` may be given several variables of one shape at once, stacked along a new first axis
            of update, value and state. Matrix methods do: one batched product or decomposition, not many small ones.
        estimates: Names of own slots that are shown to the user: `optimizer.estimates`, and in TensorBoard.
        sees_gradient: Whether `update` and `shared` find the gradient, as it left the clipping at the head of the
            chain, in `slots["gradient"]`.
        averages: Whether the weights to evaluate with are others than those to train with: see `to_average`.
        guards: Whether `shared` returns a scalar `"is_sound"`: where it is 0, the whole step is left out, and nothing
            is kept of it but the transform's own state and slots. Needs an own slot `"skipped_steps"`, whose number the
            count t of steps is lower by.
        monitor: Name of the metric that `told` is given when an epoch ends; empty for none. Needs an own slot
            `"reports"` that counts them.
    """

    elementwise: bool = True
    acts_on: Literal["direction", "step"] = "direction"
    clips: bool = False
    decays: bool = False
    batches: bool = False
    estimates: tuple[str, ...] = ()
    sees_gradient: bool = False
    averages: bool = False
    guards: bool = False
    monitor: str = ""

    def slots(self, variable: Any) -> Sequence[Slot]:
        """Returns the state to keep for `variable`, which has `shape`, `dtype` and `path`."""
        return ()

    def at(self, t: Tensor) -> "Transform":
        """Returns the transform as it is at a step: with the numbers that its schedules give then.

        Args:
            t: As in `scalars`; schedules are given t - 1, the steps taken before.
        """
        if not self.scheduled:
            return self
        now = copy.copy(self)
        now.__dict__.update({name: ops.cast(schedule(t - 1), "float32") for name, schedule in self.scheduled.items()})
        return now

    def schedules(self) -> dict[str, Schedule]:
        """Returns the schedules that arguments follow, of transforms inside this one too, by the argument's name."""
        return dict(self.scheduled)

    def decide(self, variables: Sequence[Any]) -> Sequence[float] | None:
        """Returns a number for each variable, for slots that start as `"decided"`; None for none.

        What depends on a variable's path or place belongs here: all that the transform serves are there together, a
        rule that finds none of them can say so, and the answer is saved with the model. It is asked at the first build
        only: Keras renames variables on loading.
        """
        return None

    def own_slots(self) -> Sequence[Slot]:
        """Returns the state that the transform keeps once for all its variables; each needs a shape."""
        return ()

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        """Returns every number that varies or can be tuned, each as a float or a 0-d tensor.

        Args:
            t: The step, a float32 scalar tensor that is 1 at the first update.
            learning_rate: The rate of this step and this group, a float32 scalar tensor.
        """
        return {}

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        """Looks at all the variables at once; returns further scalars for `update` and the new own state.

        A scalar named `"rate_factor"` is an estimate of the learning rate: for these variables, the rate of all later
        transforms is multiplied by it, weight decay in front of the rate included.
        """
        return {}, own

    def told(self, own: Mapping[str, float], value: float) -> dict[str, float]:
        """Returns the new own state, on the host, when `monitor` has the given value."""
        return dict(own)

    @abc.abstractmethod
    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        """Returns the new update and the new slots.

        Args:
            u: The update so far, of the shape of the variable.
            x: The variable's value.
            slots: The state declared by `slots`, by name.
            h: The scalars of `scalars` and `shared`, by name.
        """

    def with_weight_decay(self, weight_decay: float) -> "Transform | None":
        """Returns what stands in this transform's place for variables that decay by `weight_decay`; None for nothing.

        Only a transform that says `takes_decay` is asked.
        """
        return self

    @property
    def takes_decay(self) -> bool:
        """Whether the weight decay of the optimizer, or of the group, is still to be filled in."""
        return False

    def to_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        """Returns the weights to evaluate with, and the state from which `from_average` finds the way back.

        Args:
            x: The weights as they are trained.
            slots: The variable's state.
            h: The scalars of `scalars`.
        """
        return x, slots

    def from_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        """Returns the weights to train with, given those that `to_average` returned, and their state."""
        return x, slots
