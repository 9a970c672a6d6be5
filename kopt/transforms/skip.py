"""Steps that are left out because a gradient is NaN or infinite."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class SkipNonFinite(Transform):
    """Leaves a step out when any element of what reaches it is NaN or infinite, and stops a run that only skips.

    In a step that is left out no weight and no state changes, of no variable, whatever its group: moments, averages and
    the optimizer's own count of steps, on which bias correction and refreshes depend, stay as they were. The learning
    rate's schedule goes on with `iterations`, which counts batches that were tried.

    In `before=[...]` it looks at the gradients; behind the recipe, at what the recipe made of them. Skipped steps are
    counted in `optimizer.estimates["skipped_steps"]`, which TensorBoard shows as `estimates/skipped_steps`.

    After `patience` steps in a row without a single finite one, `FloatingPointError` is raised with the name of the
    first variable that is not finite. Weights, and everything else, are then those of the last finite step. With
    `optimizer.apply`, with `run_eagerly=True` and on PyTorch the error comes at once. In a compiled `fit` it comes
    before the next batch if one of kopt's callbacks is in `fit`, else when `fit` ends: the host does not see each step.

    Under gradient accumulation one bad batch spoils the mean, and so the whole step. Mixed float16 needs no
    `SkipNonFinite`: Keras' `LossScaleOptimizer` looks first, and lowers its scale. optax' `apply_if_finite` differs: it
    lets the bad step through after too many.

    Args:
        patience: How many steps in a row may be left out before the run is stopped, an integer >= 1.

    Raises:
        ValueError: `patience` is out of its range.
    """

    elementwise = False
    guards = True
    estimates = ("skipped_steps",)

    def __init__(self, patience: int = 10) -> None:
        self.patience = checks.count("patience", patience)

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("skipped_steps", ()), Slot("skipped_in_a_row", ())]

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("is_bad", ())]

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        is_sound = ops.cast(ops.all(ops.stack([ops.all(ops.isfinite(u)) for u in updates])), "float32")
        skipped = 1.0 - is_sound
        return {"is_sound": is_sound}, {
            "skipped_steps": own["skipped_steps"] + skipped,
            "skipped_in_a_row": (own["skipped_in_a_row"] + 1.0) * skipped,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        is_bad = 1.0 - ops.cast(ops.all(ops.isfinite(u)), slots["is_bad"].dtype)
        return ops.where(h["is_sound"] > 0, u, ops.zeros_like(u)), {"is_bad": is_bad}
