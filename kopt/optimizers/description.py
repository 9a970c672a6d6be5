"""What an optimizer will do to each variable of a model, as a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kopt._core.tables import aligned
from kopt.optimizers.assignment import Assignment, Row
from kopt.optimizers.plan import Plan

COLUMNS = ("variable", "shape", "group", "learning rate", "weight decay", "transforms", "bytes of state")


@dataclass(frozen=True)
class VariableRow:
    """One variable in a `Description`.

    Attributes:
        variable: Its path.
        shape: Its shape.
        group: Name of its group, or None.
        learning_rate: Of the coming step, with the group's factor; 0.0 if it is frozen.
        weight_decay: Of the coming step, per unit of learning rate.
        transforms: Names of its chain, in order; none if it is frozen.
        state_bytes: Of the state kept for it.
    """

    variable: str
    shape: tuple[int, ...]
    group: str | None
    learning_rate: float
    weight_decay: float
    transforms: tuple[str, ...]
    state_bytes: int

    def cells(self) -> tuple[str, ...]:
        """Returns what the table shows, in the order of `COLUMNS`."""
        shape = " x ".join(map(str, self.shape)) or "scalar"
        if not self.transforms:
            return self.variable, shape, self.group or "", "frozen", "", "", "0"
        numbers = (f"{self.learning_rate:.4g}", f"{self.weight_decay:.4g}")
        return (self.variable, shape, self.group or "", *numbers, " > ".join(self.transforms), str(self.state_bytes))


@dataclass(frozen=True)
class Description:
    """A table of what an optimizer does to each variable: `print` it, or read its `rows`.

    Args:
        rows: One per trainable variable, in the model's order.
        shared_bytes: Of state that is kept once for all variables, such as Prodigy's distance.
    """

    rows: tuple[VariableRow, ...]
    shared_bytes: int

    @property
    def state_bytes(self) -> int:
        """Of all state together."""
        return self.shared_bytes + sum(row.state_bytes for row in self.rows)

    def __str__(self) -> str:
        table = aligned(COLUMNS, [row.cells() for row in self.rows])
        sizes = sum(math.prod(row.shape) for row in self.rows)
        return "\n".join([*table, f"{sizes} weights, {self.state_bytes} bytes of state"])


def describe(assignment: Assignment, variables: Sequence[Any], learning_rate: float, step: Any) -> Description:
    """Returns the table for variables that the assignment has been resolved for."""
    plan = Plan.of(assignment.chains(), variables, assignment.factors(), assignment.decided())
    sizes = dict.fromkeys([None, *range(len(variables))], 0)
    for key in plan.layout:
        shape = key.slot.shape if key.slot.shape is not None or key.variable is None else variables[key.variable].shape
        width = 8 if key.variable is not None and plan.dtypes[key.variable] == "float64" else 4
        sizes[key.variable] += width * math.prod(shape or ())
    rows = assignment.rows or []
    described = (_row(assignment, i, row, plan, learning_rate, step, sizes[i]) for i, row in enumerate(rows))
    return Description(tuple(described), sizes[None])


def _row(
    assignment: Assignment, i: int, row: Row, plan: Plan, learning_rate: float, step: Any, state_bytes: int
) -> VariableRow:
    decay = assignment.decay_of(row)
    group = None if row["group"] is None else assignment.groups[row["group"]]
    chain = list(_chain(plan, i))
    return VariableRow(
        variable=row["path"],
        shape=tuple(row["shape"]),
        group=None if group is None else group.name,
        learning_rate=learning_rate * plan.factors[i] if chain else 0.0,
        weight_decay=(float(ops.convert_to_numpy(decay(step))) if callable(decay) else decay) if chain else 0.0,
        transforms=tuple(type(transform).__name__ for transform in chain),
        state_bytes=state_bytes,
    )


def _chain(plan: Plan, i: int) -> Iterator[Any]:
    return (stage.transform for stage in plan.stages if i in stage.members)
