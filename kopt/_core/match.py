"""Which variables are meant: by a pattern searched in their paths, or by a function, and how that is saved."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kopt._core import checks
from kopt._core.configured import Configured, register, serialized

Match = str | Callable[[Any], bool]


def path_of(variable: Any) -> str:
    """Returns the path of a Keras variable (`"dense/kernel"`), or the name of a bare backend variable."""
    return getattr(variable, "path", None) or variable.name


def list_of_paths(variables: Sequence[Any]) -> str:
    """Returns what an error says about the variables that there are."""
    paths = "\n  ".join(path_of(variable) for variable in variables)
    return f"The variables' paths are:\n  {paths}"


def checked_match(match: Any) -> Match:
    """Returns `match`, which is a regular expression or a callable of one variable."""
    if isinstance(match, str):
        checks.pattern("match", match)
    elif not callable(match):
        raise TypeError(
            f"`match` must be a regular expression (a string) or a callable of one variable. Received: match={match!r}."
        )
    return match


def is_match(match: Match, variable: Any) -> bool:
    """Returns whether a pattern is found in the variable's path, or what the function says."""
    if isinstance(match, str):
        return re.search(match, path_of(variable)) is not None
    return bool(match(variable))


def name_of(match: Match) -> str:
    """Returns what a pattern or a function is called in logs and errors."""
    return match if isinstance(match, str) else str(getattr(match, "__name__", type(match).__name__))


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
            f"`match` was the function `{self.function}`, which is not saved with a model, and this model's variables "
            "are not those that it was resolved for. Decorate it with `@keras.saving.register_keras_serializable()`, "
            "or build the optimizer anew."
        )


def serialized_match(match: Any, name: str | None = None) -> Any:
    """Returns a pattern or a matching function as JSON can hold it: a function that is not registered, by its name."""
    if match is not None and not isinstance(match, str | SavedMatch) and not _is_registered(match):
        # Keras would warn that a lambda is unsafe to load, and ours is not loaded.
        match = SavedMatch(name or name_of(match))
    return serialized(match)


def _is_registered(function: Any) -> bool:
    kind = function if hasattr(function, "__name__") else type(function)
    return keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is kind
