"""What the host does about steps that were left out."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core.match import path_of
from kopt.optimizers.plan import Plan


def stop_if_stuck(plan: Plan, variables: Sequence[Any], slots: Sequence[Any], iterations: Any) -> None:
    """Raises `FloatingPointError` when a guard of the plan has left out as many steps in a row as it has patience.

    Args:
        plan: Of the optimizer.
        variables: All that the optimizer was built for.
        slots: The variables of its state.
        iterations: Optimizer steps that were tried.
    """
    for k in plan.guards:
        skipped = int(ops.convert_to_numpy(plan.state(k, None, slots)["skipped_in_a_row"]))
        transform: Any = plan.stages[k].transform
        if skipped < transform.patience:
            continue
        bad = [i for i in plan.stages[k].members if float(ops.convert_to_numpy(plan.state(k, i, slots)["is_bad"]))]
        names = [path_of(variables[i]) for i in bad]
        others = f" and {len(names) - 1} other variable{'s' * (len(names) > 2)}" if len(names) > 1 else ""
        raise FloatingPointError(
            f"{skipped} steps in a row, the last at step {int(ops.convert_to_numpy(iterations))}, were left out by "
            f"`{type(transform).__name__}(patience={transform.patience})`, because what reached it was NaN or "
            f"infinite: first in {names[0]}{others}. The weights are those of the last finite step. Look for "
            "infinite inputs or losses, lower the learning rate, or clip (`global_clipnorm=1.0`)."
        )
