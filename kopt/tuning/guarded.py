"""The `hp` that a user's own build function gets: it refuses names that the space has already."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras_tuner


class GuardedHyperParameters(keras_tuner.HyperParameters):
    """Another face of a `keras_tuner.HyperParameters`: what is declared here is declared there.

    KerasTuner takes a second hyperparameter of the same name for the first one and returns its value.

    What a `Maybe` has switched off can be read too.
    """

    def __init__(self, hp: Any, taken: Iterable[str], values: Mapping[str, Any]) -> None:
        self.__dict__.update(hp.__dict__)
        self._taken = frozenset(taken)
        self._known = dict(values)
        self._scopes: list[str] = []

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        self._scopes.append(name)
        try:
            with super().name_scope(name):
                yield
        finally:
            self._scopes.pop()

    def get(self, name: str) -> Any:
        return self._known[name] if name in self._known and not self._scopes else super().get(name)

    def Choice(self, name: str, *args: Any, **keywords: Any) -> Any:  # noqa: N802
        return super().Choice(self._free(name), *args, **keywords)

    def Int(self, name: str, *args: Any, **keywords: Any) -> Any:  # noqa: N802
        return super().Int(self._free(name), *args, **keywords)

    def Float(self, name: str, *args: Any, **keywords: Any) -> Any:  # noqa: N802
        return super().Float(self._free(name), *args, **keywords)

    def Boolean(self, name: str, *args: Any, **keywords: Any) -> Any:  # noqa: N802
        return super().Boolean(self._free(name), *args, **keywords)

    def Fixed(self, name: str, *args: Any, **keywords: Any) -> Any:  # noqa: N802
        return super().Fixed(self._free(name), *args, **keywords)

    def _free(self, name: str) -> str:
        full = "/".join([*self._scopes, str(name)])
        if full in self._taken:
            raise ValueError(
                f"The build function's `hp` must not declare a name that the space has. Received: name={full!r}. "
                f'Read its value with `hp.get("{full}")`, or take another name.'
            )
        return name
