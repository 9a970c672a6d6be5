"""Groups of variables with their own learning rate, weight decay or chain."""

from collections.abc import Sequence
from typing import Any

from kopt._core import checks
from kopt._core.configured import Configured, Hyperparameter, register, serialized
from kopt._core.match import Match, checked_match, is_match, list_of_paths, name_of, serialized_match
from kopt.transforms import Transform


@register
class Group(Configured):
    """Says how some of a model's variables are trained differently from the rest.

    Args:
        match: Which variables: a regular expression searched in `variable.path` (such as `"backbone/"` or `"bias$"`),
            or a callable `variable -> bool`. Of several groups, the first that matches takes the variable.
        learning_rate: Factor on the optimizer's learning rate, >= 0.
        weight_decay: Decay instead of the optimizer's, a number or a schedule; None keeps the optimizer's.
        frozen: Whether the variables stay as they are. They keep no state and count in no global norm.
        transforms: A chain instead of the optimizer's recipe. Weight decay and learning rate follow it, as in a recipe,
            unless it contains them. `before`, `after` and clipping keywords of the optimizer still apply.
        name: Shown in logs; by default the pattern, or the name of the callable.

    Raises:
        ValueError: An argument is out of its range, or `match` does not compile.
        TypeError: `match` is neither a string nor callable.

    Example:

    ```python
    kopt.optimizers.AdamW(1e-3, groups=[
        kopt.optimizers.Group("backbone/", learning_rate=0.1),
        kopt.optimizers.Group("bias$|gamma$|beta$", weight_decay=0.0),
    ])
    ```
    """

    def __init__(
        self,
        match: Match,
        learning_rate: float = 1.0,
        weight_decay: Hyperparameter | None = None,
        *,
        frozen: bool = False,
        transforms: Sequence[Transform] | None = None,
        name: str | None = None,
    ) -> None:
        self.match = checked_match(match)
        self.learning_rate = checks.non_negative(
            "learning_rate", learning_rate, advice="In a group it is a factor on the optimizer's rate."
        )
        self.weight_decay = checks.optional(checks.decay, "weight_decay", weight_decay)
        self.frozen = checks.flag("frozen", frozen)
        self.transforms = None if transforms is None else checks.instances("transforms", transforms, Transform)
        self.name = name or name_of(match)

    def matches(self, variable: Any) -> bool:
        """Returns whether `match` takes the variable."""
        return is_match(self.match, variable)

    def get_config(self) -> dict[str, Any]:
        return {
            name: serialized_match(value, self.name) if name == "match" else serialized(value)
            for name, value in self.arguments.items()
        }


def resolve(groups: Sequence[Group], variables: Sequence[Any]) -> list[int | None]:
    """Returns for each variable the position of the first group that matches it, or None.

    Raises:
        ValueError: A group matches no variable at all; the message lists the paths that exist.
    """
    matches = [[group.matches(variable) for variable in variables] for group in groups]
    for group, row in zip(groups, matches, strict=True):
        if not any(row):
            raise checks.fail(
                "groups",
                "groups that each match at least one trainable variable",
                group.name,
                list_of_paths(variables),
            )
    return [next((g for g, row in enumerate(matches) if row[v]), None) for v in range(len(variables))]
