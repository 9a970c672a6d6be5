"""Where and when numbers stopped being finite."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kopt._core.warn import warn_user
from kopt.monitoring.quantity import HIDDEN, Kept, Numbers, Quantity, SeenStep


@dataclass(frozen=True)
class NonFinite:
    """The first NaN or infinity that was seen.

    Attributes:
        step: Optimizer step at which it was seen.
        last_finite_step: The last one before it that was looked at, and was finite; None if there was none.
        variable: Path of the first variable (in the model's order) whose weights, or else whose gradient, were not
            finite; None if only the loss was not.
        place: `"weights"` (before the step), `"gradient"` or `"loss"`.
    """

    step: int
    last_finite_step: int | None
    variable: str | None
    place: str

    def __str__(self) -> str:
        where = {"weights": f"the weights of `{self.variable}`", "gradient": f"the gradient of `{self.variable}`"}
        since = "" if self.last_finite_step is None else f"; at step {self.last_finite_step} all was finite"
        return f"At step {self.step} {where.get(self.place, 'the loss')} held NaN or infinity{since}."


class FirstNonFinite(Quantity):
    """The first variable and step at which a NaN or an infinity appeared: a warning, and numbers from then on.

    Tags: `nonfinite/first_step`, from that step on. What was found is in `found`. The step is exact when every step is
    looked at (`when=1`), and else between two looks, which are both named. Norms are looked at, so that a gradient or
    weights of more than 1e19 count as infinite, and steps that a `LossScaleOptimizer` leaves out do not count.

    Attributes:
        found: A `NonFinite`, or None as long as all was finite.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self.found: NonFinite | None = None
        self._last_finite: int | None = None

    def begin(self, model: Any) -> None:
        self._last_finite = None

    def in_step(self, seen: SeenStep) -> Numbers:
        if self._is_scaled(seen):
            return {}
        hidden = {tuple(f"{HIDDEN}{place}/{path}" for path in seen.paths): squares for place, squares in
                  (("weights", seen.weight_squares), ("gradient", seen.gradient_squares))}  # fmt: skip
        losses = [value for tag, value in seen.numbers.items() if tag == "loss/total"]
        return hidden | ({f"{HIDDEN}loss/": losses[0]} if losses else {})

    def _is_scaled(self, seen: SeenStep) -> bool:
        # With a loss scale, infinite gradients are how the scale is found.
        return seen.step.loss_scale is not None

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        mine = [tag.removeprefix(HIDDEN).partition("/") for tag, value in numbers.items()
                if tag.startswith(HIDDEN) and not math.isfinite(value)]  # fmt: skip
        places = {place: path for place, _, path in reversed(mine)}
        if self.found is None and places:
            place = next(place for place in ("weights", "gradient", "loss") if place in places)
            self.found = NonFinite(kept.step, self._last_finite, places[place] or None, place)
            warn_user(str(self.found))
        if not places:
            self._last_finite = kept.step
        return {} if self.found is None else {"nonfinite/first_step": float(self.found.step)}
