"""Variables that stand still: for good, or until their turn has come."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keras import ops

from kopt._core import checks
from kopt._core.configured import register, serialized
from kopt._core.match import Match, checked_match, is_match, list_of_paths, name_of, serialized_match
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class Freeze(Transform):
    """Sets the step of some variables to 0, weight decay included.

    `Group(match, frozen=True)` takes variables out of the chain: they keep no state, and their gradients count in no
    global norm. Here only the step is lost: gradients count, and moments go on, so that a variable which is let go
    later moves as if it had trained all along. To save memory and time, take the group.

    It stands at the end of a chain (`after=[...]` puts it there), but in front of transforms that evaluate with other
    weights than they train: `after=[Freeze(...), Lookahead()]`. The schedule-free optimizers end with one; give them
    the group. What stands behind it may move the variables again, and so may weight decay if it is put in `before`.

    Args:
        match: Which variables: a regular expression searched in `variable.path` (such as `"backbone/"` or `"bias$"`),
            or a callable `variable -> bool`. It is asked once, at build; who is frozen is saved with the model.

    Raises:
        ValueError: `match` does not compile, or (at build) matches no variable.
        TypeError: `match` is neither a string nor callable.
    """

    elementwise = False
    acts_on: Literal["direction", "step"] = "step"

    def __init__(self, match: Match) -> None:
        self.match = checked_match(match)

    def get_config(self) -> dict[str, Any]:
        return {"match": serialized_match(self.match)}

    def decide(self, variables: Sequence[Any]) -> Sequence[float] | None:
        frozen = [is_match(self.match, variable) for variable in variables]
        if not any(frozen):
            rule = "a rule that matches at least one trainable variable"
            raise checks.fail("match", rule, name_of(self.match), list_of_paths(variables))
        return [0.0 if is_frozen else 1.0 for is_frozen in frozen]

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("is_free", (), "decided")]

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return ops.where(slots["is_free"] > 0, u, ops.zeros_like(u)), slots


@register
class Unfreeze(Transform):
    """Sets the step of each variable to 0 until the variable's turn has come: gradual unfreezing.

    ```
    u <- u where t > opens_at, else 0          opens_at: that of the first pattern found in the variable's path, or 0
    ```

    Fine-tuning trains the head alone at first, then the layers below it, one after another. A variable moves as if it
    had trained all along when its turn comes: gradients count in global norms, and moments go on, as with `Freeze`,
    which also says what it stands in front of.

    Args:
        opens_at: Regular expressions searched in the variables' paths -> for how many optimizer steps, or epochs, such
            variables stand still, an integer >= 0. The first that is found counts; the others are free from the start.
        by: `"step"` or `"epoch"`: what the numbers of `opens_at` count.
        steps_per_epoch: How many optimizer steps (not batches, under gradient accumulation) an epoch has, an integer
            >= 1. For epochs only.

    Raises:
        ValueError: An argument is out of its range or contradicts another, or (at build) a pattern is found in no path.

    Example:

    ```python
    turns = {"block1/": 3, "block2/": 2, "block3/": 1}
    kopt.optimizers.AdamW(1e-4, after=[kopt.transforms.Unfreeze(turns, by="epoch", steps_per_epoch=500)])
    ```

    References:
        Howard and Ruder 2018, https://arxiv.org/abs/1801.06146.
    """

    elementwise = False
    acts_on: Literal["direction", "step"] = "step"

    def __init__(
        self,
        opens_at: Mapping[str, int],
        by: Literal["step", "epoch"] = "step",
        steps_per_epoch: int | None = None,
    ) -> None:
        self.opens_at = _turns("opens_at", opens_at)
        self.by = checks.choice("by", by, ("step", "epoch"))
        self.steps_per_epoch = checks.optional(checks.count, "steps_per_epoch", steps_per_epoch)
        if (by == "epoch") != (steps_per_epoch is not None):
            rule = "given for `by='epoch'`, and only then"
            raise checks.fail("steps_per_epoch", rule, steps_per_epoch)

    def get_config(self) -> dict[str, Any]:
        # Pairs: the order counts, and not all that read JSON keep that of keys.
        pairs = [[pattern, turn] for pattern, turn in self.opens_at.items()]
        return {**{name: serialized(value) for name, value in self.arguments.items()}, "opens_at": pairs}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Unfreeze":
        return super().from_config({**config, "opens_at": dict(config["opens_at"])}, custom_objects)

    def decide(self, variables: Sequence[Any]) -> Sequence[float] | None:
        for pattern in self.opens_at:
            if not any(is_match(pattern, variable) for variable in variables):
                rule = "patterns that are each found in the path of at least one trainable variable"
                raise checks.fail("opens_at", rule, pattern, list_of_paths(variables))
        unit = self.steps_per_epoch or 1
        return [float(unit * self._turn(variable)) for variable in variables]

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("opens_at", (), "decided")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"t": t}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return ops.where(h["t"] > slots["opens_at"], u, ops.zeros_like(u)), slots

    def _turn(self, variable: Any) -> int:
        return next((turn for pattern, turn in self.opens_at.items() if is_match(pattern, variable)), 0)


def _turns(name: str, value: Any) -> dict[str, int]:
    """Returns a mapping from regular expressions to integers >= 0."""
    rule = "a dict of one or more regular expressions and integers >= 0"
    if not isinstance(value, Mapping) or not value:
        raise checks.fail(name, rule, value)
    for pattern, turn in value.items():
        is_count = isinstance(turn, numbers.Integral) and not isinstance(turn, bool) and int(turn) >= 0
        if not isinstance(pattern, str) or not is_count:
            raise checks.fail(name, rule, value)
        checks.pattern(name, pattern)
    return {pattern: int(turn) for pattern, turn in value.items()}
