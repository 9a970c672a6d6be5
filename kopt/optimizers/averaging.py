"""Weights to evaluate with in place of the weights to train with, and the way back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from kopt._core.warn import warn_user
from kopt.optimizers.plan import Plan
from kopt.transforms.transform import Tensor


@dataclass(frozen=True)
class Replaced:
    """What an exchange replaced: values of weights by index, and of state by position."""

    params: Mapping[int, Tensor]
    slots: Mapping[int, Tensor]


def exchange(plan: Plan, variables: Sequence[Any], slots: Sequence[Any], *, to_average: bool) -> Replaced:
    """Exchanges the weights in the variables, where that is not done yet.

    Args:
        plan: Of the optimizer.
        variables: All that the optimizer was built for.
        slots: The variables of its state.
        to_average: Which way.

    Returns:
        What was there before.
    """
    params, state = _read(variables), list(_read(slots).values())
    served = {i: params[i] for k in plan.averaging for i in plan.stages[k].members}
    new, new_state = plan.exchanged(served, state, to_average=to_average)
    changed = [p for p, (a, b) in enumerate(zip(state, new_state, strict=True)) if a is not b]
    replaced = Replaced(_copied(served), _copied({p: state[p] for p in changed}))
    for i, value in new.items():
        variables[i].assign(value)
    for p in changed:
        slots[p].assign(new_state[p])
    return replaced


def keras_average(
    optimizer: Any, params: list[Tensor], averages: Sequence[Tensor], is_left_out: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns weights and averages after a step with Keras' `use_ema`: an average starts as the first weights.

    Args:
        optimizer: Whose keywords count.
        params: The weights after the step, one per variable.
        averages: Of the variables that are averaged, in their order.
        is_left_out: Whether the step was called off, so that the average stays; None for never.
    """
    done, momentum, every = optimizer.iterations, optimizer.ema_momentum, optimizer.ema_overwrite_frequency
    if is_left_out is not None:
        momentum = ops.where(is_left_out, 1.0, momentum)
    momentum = ops.where(ops.equal(done, 0), 0.0, momentum)
    members = [i for i, average in enumerate(optimizer._model_variables_moving_average) if average is not None]
    params, new_averages = list(params), []
    for i, average in zip(members, averages, strict=True):
        keep = ops.cast(momentum, average.dtype)
        new_averages.append(keep * average + (1 - keep) * params[i])
        if every:
            params[i] = ops.where(ops.equal((done + 1) % every, 0), new_averages[-1], params[i])
    return params, new_averages


def restore(plan: Plan, variables: Sequence[Any], slots: Sequence[Any], replaced: Replaced) -> None:
    """Goes back to the weights to train with, bit for bit, where `exchange` left a record of them.

    A variable that holds something else by now than `exchange` put there (loaded weights, say) goes the way that any
    average goes, and keeps what it holds.
    """
    params, state = _read(variables), list(_read(slots).values())
    before = [replaced.slots.get(p, value) for p, value in enumerate(state)]
    averages, _ = plan.exchanged(replaced.params, before, to_average=True)
    untouched = ops.stack([ops.all(ops.equal(params[i], averages[i])) for i in averages])
    own = {i for i, same in zip(averages, np.asarray(ops.convert_to_numpy(untouched)), strict=True) if same}
    exchange(plan, variables, slots, to_average=False)
    for i in own:
        variables[i].assign(replaced.params[i])
    for p, value in replaced.slots.items():
        if plan.layout[p].variable in own:
            slots[p].assign(value)


def _read(variables: Sequence[Any]) -> dict[int, Tensor]:
    return {i: ops.stop_gradient(ops.convert_to_tensor(variable)) for i, variable in enumerate(variables)}


def _copied(tensors: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
    """Returns copies that stay as they are when variables are written in place."""
    return {key: ops.copy(tensor) for key, tensor in tensors.items()}


def warn_of_two_averages(optimizer: Any) -> None:
    """Warns that Keras' average and the optimizer's own are both asked for."""
    warn_user(
        f"`use_ema` averages the weights that {type(optimizer).__name__} trains with, and puts that average into the "
        "model when `fit` ends, in place of the optimizer's own. Leave it out."
    )
