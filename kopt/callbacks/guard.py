"""What every kopt callback does before each batch: it stops a run whose steps are all left out."""

from typing import Any

from kopt._backend import watch
from kopt.optimizers import ComposedOptimizer


def stop_if_stuck(model: Any) -> None:
    """Raises `FloatingPointError` when a `SkipNonFinite` of the model's optimizers has run out of patience.

    To be called where a batch begins: Keras may call a callback in a thread of its own where one ends, while the next
    step already consumes the variables on JAX.
    """
    guarded = [part for part in watch.inner_optimizers(model.optimizer) if is_guarded(part)]
    if not guarded:
        return
    if hasattr(model, "jax_state_sync"):  # The step's numbers are not in the variables yet.
        model.jax_state_sync()
    for part in guarded:
        part.look_back()


def is_guarded(optimizer: Any) -> bool:
    """Returns whether the optimizer may leave steps out."""
    return isinstance(optimizer, ComposedOptimizer) and optimizer.built and bool(optimizer._plan.guards)
