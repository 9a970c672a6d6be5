"""KerasTuner's lock around an oracle, released also when what runs under it raises."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import keras_tuner


class _Kept:
    """Keeps an exception until the lock is released: KerasTuner's decorator never releases it after one."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.result: Any = None

    def __enter__(self) -> "_Kept":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


@keras_tuner.synchronized
def _kept(oracle: keras_tuner.Oracle, call: Callable[[], Any]) -> _Kept:  # noqa: ARG001 (whose lock it is)
    with _Kept() as kept:
        kept.result = call()
    return kept


def alone(oracle: keras_tuner.Oracle, call: Callable[[], Any]) -> Any:
    """Returns what `call` returns, while no other thread changes the oracle; it may call what locks the oracle itself.

    Args:
        oracle: Whose lock it is.
        call: A function without arguments.

    Raises:
        BaseException: Whatever `call` raises, after the lock is released.
    """
    kept = _kept(oracle, call)
    if kept.error is not None:
        raise kept.error
    return kept.result
