"""Finding a class by a name that a user wrote, and saying what was probably meant."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from kopt._core import checks


def find(argument: str, name: str, places: Iterable[Mapping[str, type]], rule: str) -> type:
    """Returns the class that a name means in the first place that knows it, whatever its capitals.

    Raises:
        ValueError: No place knows it; the message has near names.
    """
    known: dict[str, str] = {}
    for place in places:
        for label, kind in place.items():
            known.setdefault(label.lower(), label)
            if label.lower() == name.lower():
                return kind
    near = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3)]
    advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(known.values())}."
    raise checks.fail(argument, rule, name, advice)


def arguments_of(kind: Any) -> tuple[list[str], bool]:
    """Returns the names that a class or function takes by keyword, and whether it takes any other ones."""
    parameters = inspect.signature(kind).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    more = list(getattr(kind, "keyword_names", ()))
    is_open = not more and any(p.kind is p.VAR_KEYWORD for p in parameters)
    return [*named, *(name for name in more if name not in named)], is_open


def checked_label(label: Any) -> str:
    """Returns a label that can begin the name of a hyperparameter."""
    text = checks.text("name", label)
    if "/" in text:
        raise checks.fail("name", "without `/`, which separates the parts of a hyperparameter's name", label)
    return text
