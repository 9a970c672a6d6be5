"""Groups of variables with their own learning rate, weight decay or chain."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kopt._core import checks
from kopt._core.configured import Configured, register, serialized
from kopt.transforms import Transform


def path_of(variable: Any) -> str:
    """Returns the path of a Keras variable (`"dense/kernel"`), or the name of a bare backend variable."""
    return getattr(variable, "path", None) or variable.name


@register
class SavedMatch(Configured):
    """Stands in a loaded config for a matching function that could not be saved with it.

    Args:
        function: Name of the function that was not saved.
    """

    def __init__(self, function: str) -> None:
        self.function = function

    def __call__(self, variable: Any) -> bool:
        raise ValueError(
            f"`match` of this group was the function `{self.function}`, which is not saved with a model, and this "
            "model's variables are not those that it was resolved for. Decorate it with "
            "`@keras.saving.register_keras_serializable()`, or pass `groups=` again."
        )


@register
class Group(Configured):
    """Says how some of a model's variables are trained differently from the rest.

    Args:
        match: Which variables: a regular expression searched in `variable.path` (such as `"backbone/"` or `"bias$"`),
            or a callable `variable -> bool`. Of several groups, the first that matches takes the variable.
        learning_rate: Factor on the optimizer's learning rate, >= 0.
        weight_decay: Decay instead of the optimizer's; None keeps the optimizer's.
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
        match: str | Callable[[Any], bool],
        learning_rate: float = 1.0,
        weight_decay: float | None = None,
        *,
        frozen: bool = False,
        transforms: Sequence[Transform] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(match, str) and not callable(match):
            raise TypeError(
                f"`match` must be a regular expression (a string) or a callable of one variable. "
                f"Received: match={match!r}."
            )
        self.match = match
        self._pattern = checks.pattern("match", match) if isinstance(match, str) else None
        self.learning_rate = checks.non_negative(
            "learning_rate", learning_rate, advice="In a group it is a factor on the optimizer's rate."
        )
        self.weight_decay = checks.optional(checks.non_negative, "weight_decay", weight_decay)
        self.frozen = checks.flag("frozen", frozen)
        self.transforms = None if transforms is None else checks.instances("transforms", transforms, Transform)
        function = getattr(match, "__name__", type(match).__name__)
        self.name = name or (match if isinstance(match, str) else function)

    def matches(self, variable: Any) -> bool:
        """Returns whether `match` takes the variable."""
        if self._pattern is not None:
            return re.search(self._pattern, path_of(variable)) is not None
        return bool(self.match(variable))  # type: ignore[operator]

    def get_config(self) -> dict[str, Any]:
        return {
            name: serialized_match(value, self.name) if name == "match" else serialized(value)
            for name, value in self.arguments.items()
        }


def serialized_match(match: Any, name: str | None = None) -> Any:
    """Returns a pattern or a matching function as JSON can hold it: a function that is not registered, by its name."""
    if match is not None and not isinstance(match, str | SavedMatch) and not _is_registered(match):
        # Keras would warn that a lambda is unsafe to load, and ours is not loaded.
        match = SavedMatch(name or str(getattr(match, "__name__", type(match).__name__)))
    return serialized(match)


def _is_registered(function: Any) -> bool:
    kind = function if hasattr(function, "__name__") else type(function)
    return keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is kind


def resolve(groups: Sequence[Group], variables: Sequence[Any]) -> list[int | None]:
    """Returns for each variable the position of the first group that matches it, or None.

    Raises:
        ValueError: A group matches no variable at all; the message lists the paths that exist.
    """
    matches = [[group.matches(variable) for variable in variables] for group in groups]
    for group, row in zip(groups, matches, strict=True):
        if not any(row):
            paths = "\n  ".join(path_of(variable) for variable in variables)
            raise checks.fail(
                "groups",
                "groups that each match at least one trainable variable",
                group.name,
                f"The variables' paths are:\n  {paths}",
            )
    return [next((g for g, row in enumerate(matches) if row[v]), None) for v in range(len(variables))]
