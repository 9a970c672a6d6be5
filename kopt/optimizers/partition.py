"""Two recipes in one optimizer: which variables are matrices to a matrix method, and what the others get."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kopt._core import checks
from kopt._core.layout import matrix_shape
from kopt._core.match import Match, is_match, path_of
from kopt.transforms import Transform


class Partition(NamedTuple):
    """A recipe for some variables and another for the rest; which is which is decided once, at build, and saved.

    Attributes:
        rule: Trainable variables, in the model's order -> for each whether it is chosen.
        chosen: The chain of the chosen ones.
        rest: The chain of the others.
    """

    rule: Callable[[Sequence[Any]], Sequence[bool]]
    chosen: Sequence[Transform]
    rest: Sequence[Transform]


def matrix_rule(match: Match | None) -> Callable[[Sequence[Any]], list[bool]]:
    """Returns the rule that the argument `matrices` of an optimizer stands for; by default `hidden_matrices`."""
    return _rule("matrices", match, hidden_matrices)


def lazy_rule(match: Match | None) -> Callable[[Sequence[Any]], list[bool]]:
    """Returns the rule that the argument `lazy` of an optimizer stands for; by default `embeddings`."""
    return _rule("lazy", match, embeddings)


def _rule(
    argument: str, match: Match | None, default: Callable[[Sequence[Any]], list[bool]]
) -> Callable[[Sequence[Any]], list[bool]]:
    """Returns the rule that an argument of an optimizer stands for.

    Args:
        argument: Its name.
        match: None for `default`; a regular expression searched in the variables' paths, or a callable
            `variable -> bool`, for exactly the variables that it matches.
        default: The rule in place of None.

    Raises:
        ValueError: `match` is neither, does not compile, or (at build) picks a variable of fewer than two dimensions.
    """
    if match is None:
        return default
    if isinstance(match, str):
        checks.pattern(argument, match)
    elif not callable(match):
        raise checks.fail(argument, "None, a regular expression or a callable of one variable", match)

    def rule(variables: Sequence[Any]) -> list[bool]:
        chosen = [is_match(match, v) for v in variables]
        flat = [path_of(v) for v, is_chosen in zip(variables, chosen, strict=True) if is_chosen and len(v.shape) < 2]
        if flat:
            rule_in_words = "a rule that picks variables of two or more dimensions"
            raise checks.fail(argument, rule_in_words, getattr(match, "__name__", match), f"It picks {flat}.")
        return chosen

    return rule


def embeddings(variables: Sequence[Any]) -> list[bool]:
    """Picks the tables of embeddings: two or more dimensions, and `embed` in the path."""
    return [len(v.shape) >= 2 and _is_embedding(v) for v in variables]


def _is_embedding(variable: Any) -> bool:
    return re.search("embed", path_of(variable), re.IGNORECASE) is not None


def hidden_matrices(variables: Sequence[Any]) -> list[bool]:
    """Picks the kernels of hidden layers: two or more dimensions, no embedding, not the last kernel of the model.

    The last kernel is taken for the head: its outputs are classes or targets, not features that a further layer mixes.
    A kernel with one input or one output is a vector and is left out, too.
    """
    chosen = [len(v.shape) >= 2 and not _is_embedding(v) for v in variables]
    kernels = [i for i, v in enumerate(variables) if chosen[i] and "kernel" in path_of(v).rpartition("/")[2]]
    if kernels:
        chosen[kernels[-1]] = False
    return [is_chosen and min(matrix_shape(v)) > 1 for is_chosen, v in zip(chosen, variables, strict=True)]
