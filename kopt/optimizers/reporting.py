"""What an optimizer says about itself between steps, and what it is told."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from kopt._core import checks
from kopt.optimizers.plan import Plan
from kopt.transforms import Transform


def estimates(plan: Plan, slots: Sequence[Any]) -> dict[str, Any]:
    """Returns the numbers that transforms estimate by themselves, by name, as 0-d tensors."""
    wanted = [(key.slot.name, slot) for key, slot in zip(plan.layout, slots, strict=True) if key.is_estimate]
    names = [name for name, _ in wanted]
    # A second stage of the same kind, such as a group's own chain, gets a number.
    numbers = [names[:n].count(name) for n, name in enumerate(names)]
    tags = [f"{name}_{number + 1}" if number else name for name, number in zip(names, numbers, strict=True)]
    return {tag: ops.convert_to_tensor(slot) for tag, (_, slot) in zip(tags, wanted, strict=True)}


def listeners(plan: Plan) -> dict[int, Transform]:
    """Returns the transforms that are told what an epoch gave, by the number of their stage."""
    return {k: stage.transform for k, stage in enumerate(plan.stages) if stage.transform.monitor}


def told(plan: Plan, slots: Sequence[Any], metrics: Mapping[str, float]) -> list[tuple[Any, Any]]:
    """Returns the state that changes when transforms are told the metrics, and its new values.

    Raises:
        ValueError: A metric that one of them waits for is not there.
    """
    writes = []
    for k, transform in listeners(plan).items():
        if transform.monitor not in metrics:
            waiting = type(transform).__name__
            raise checks.fail("metrics", f"a dict with `{transform.monitor}` for `{waiting}`", sorted(metrics))
        value = float(np.float32(metrics[transform.monitor]))  # as the best one so far is kept
        own = plan.state(k, None, slots)
        new = transform.told({name: float(ops.convert_to_numpy(slot)) for name, slot in own.items()}, value)
        writes += [(own[name], ops.convert_to_tensor(number, "float32")) for name, number in new.items()]
    return writes


def warn_if_untold(plan: Plan, slots: Sequence[Any]) -> None:
    """Warns about transforms that no one has told anything, when training ends."""
    for k, transform in listeners(plan).items():
        if not float(ops.convert_to_numpy(plan.state(k, None, slots)["reports"])):
            warnings.warn(
                f"`{type(transform).__name__}` was never told `{transform.monitor}`, so it did nothing. Give `fit` one "
                "of kopt's callbacks, such as `kopt.callbacks.Report()`, or call `optimizer.report(metrics)`.",
                stacklevel=2,
            )
