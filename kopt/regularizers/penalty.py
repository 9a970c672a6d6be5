"""What the regularizers have in common: strengths in front of a penalty that is computed in float32."""

from typing import Any, ClassVar, Self

import keras
from keras import ops

from kopt._backend import passes
from kopt._backend.assignable import assignable
from kopt._core import checks
from kopt._core.configured import deserialized, serialized
from kopt._core.followed import Followed, knows_step


class Strength(Followed):
    """A factor of a penalty, >= 0: a number that may be assigned between steps, or the schedule that it follows.

    Args:
        name: Of the regularizer's argument.
        value: What the user gave: a number or a schedule.
    """

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(name, value, checks.non_negative, 0.0)
        self._number = assignable(self.first)

    def assign(self, value: float) -> None:
        """Puts another number in its place, for all further steps, compiled ones too; it is saved with the model.

        On JAX everything that was compiled in this process is compiled again: assign between epochs, not steps.

        Args:
            value: A finite number >= 0.

        Raises:
            ValueError: `value` is no such number, or the strength follows a schedule.
        """
        if self.schedule is not None:
            raise ValueError(
                f"`{self.name}` follows a schedule and cannot be assigned. Received: {self.name}={value!r}. "
                "Give the regularizer a number instead of the schedule."
            )
        number = checks.non_negative(self.name, value)
        self._number.assign(number)
        self.argument = self.first = number

    def now(self, owner: str) -> Any:
        """Returns the number of the step under way."""
        if self.schedule is None:
            return self._number.value()
        return 0.0 if not knows_step() and passes.is_prediction() else super().now(owner)

    def __float__(self) -> float:
        if self.schedule is not None:
            raise TypeError(f"`{self.name}` follows a schedule: it has a number in a training step only.")
        return float(self.first)

    def __repr__(self) -> str:
        return f"Strength({self.name}={self.argument!r})"


class Penalty(keras.regularizers.Regularizer):
    """A regularizer whose strengths can be assigned (`regularizer.factor.assign(1e-3)`) or follow schedules.

    A regularizer is no part of the model, so a schedule needs a model around it that knows the step:
    `kopt.losses.ScheduledLoss`, `RDrop` or `GradientPenalty`. Without one training raises, and so does `evaluate`, but
    for activity regularizers on TensorFlow and PyTorch: their penalty counts as 0 in inference, as in `predict`.

    Attributes:
        strengths: Names of the arguments that are strengths.
        extra: Names of the other arguments.
    """

    strengths: ClassVar[tuple[str, ...]] = ("factor",)
    extra: ClassVar[tuple[str, ...]] = ()

    def begin(self, **values: Any) -> None:
        """Checks and keeps the strengths."""
        for name, value in values.items():
            setattr(self, name, Strength(name, value))
        self.followed = tuple(getattr(self, name) for name in self.strengths)

    def strength(self, name: str = "factor") -> Any:
        """Returns a strength at the step under way."""
        return getattr(self, name).now(type(self).__name__)

    def penalty(self, x: Any) -> Any:
        """Returns the penalty of a strength of 1, a scalar, for a tensor of float32 or wider."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """Returns the penalty of a tensor or variable: a scalar in float32, in float64 for such weights."""
        return self.strength() * self.penalty(wide(x))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, with strengths as they are now."""
        own = {name: getattr(self, name) for name in self.extra}
        return {strength.name: serialized(strength.argument) for strength in self.followed} | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the regularizer whose `get_config` returned `config`."""
        return cls(**{name: deserialized(value) for name, value in config.items()})


def wide(x: Any) -> Any:
    """Returns a tensor or variable as a tensor of float32 at least: sums of 16-bit floats stop growing."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def safe_root(squares: Any) -> Any:
    """Returns square roots of numbers >= 0, of which the gradient at 0 is 0 in place of infinite."""
    is_above = squares > 0
    return ops.where(is_above, ops.sqrt(ops.where(is_above, squares, ops.ones_like(squares))), ops.zeros_like(squares))
