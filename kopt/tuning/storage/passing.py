"""Storages in front of a storage: they lock, and bear with failures that pass."""

import contextlib
import errno
import logging
import sys
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import sqlalchemy.exc
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kopt.tuning.storage.journal import locked

PATIENCE = 120.0  # Seconds: a database that is started again is there by then.
_LONGEST_PAUSE = 5.0
_log = logging.getLogger(__name__)


class Passing(BaseStorage):
    """Passes all calls on to another storage.

    Args:
        inner: The other storage.
        lock: A file that is locked while something is written; None where the storage itself sees to it.
    """

    def __init__(self, inner: BaseStorage, lock: Path | None = None) -> None:
        self.inner = inner
        self.lock = lock

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls a method of the other storage."""
        return method(*args)

    def write(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls a method that reads something and then writes what depends on it."""

        def alone(*args: Any) -> Any:
            # SQLite's own lock comes too late for that: Python begins a transaction when it writes, not when it reads.
            with contextlib.nullcontext() if self.lock is None else locked(self.lock):
                return method(*args)

        return self.call(alone, *args)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self.write(self.inner.create_new_study, directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self.write(self.inner.delete_study, study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.write(self.inner.set_study_user_attr, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.write(self.inner.set_study_system_attr, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.call(self.inner.get_study_id_from_name, study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.call(self.inner.get_study_name_from_id, study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.call(self.inner.get_study_directions, study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self.call(self.inner.get_study_user_attrs, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.call(self.inner.get_study_system_attrs, study_id)

    def get_all_studies(self) -> list[Any]:
        return self.call(self.inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self.write(self.inner.create_new_trial, study_id, template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.write(self.inner.set_trial_param, trial_id, param_name, param_value_internal, distribution)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self.call(self.inner.get_trial_id_from_study_id_trial_number, study_id, trial_number)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        return self.write(self.inner.set_trial_state_values, trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.write(self.inner.set_trial_intermediate_value, trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.write(self.inner.set_trial_user_attr, trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.write(self.inner.set_trial_system_attr, trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.call(self.inner.get_trial, trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 (Optuna calls it so)
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return self.call(self.inner.get_all_trials, study_id, deepcopy, states)

    def remove_session(self) -> None:
        self.inner.remove_session()


class Patient(Passing):
    """Tries again for some time where a storage cannot be reached.

    Args:
        inner: The storage.
        lock: As for `Passing`.
        name: How messages call the storage.
        patience: Seconds, > 0.
    """

    def __init__(self, inner: BaseStorage, lock: Path | None, name: str, patience: float = PATIENCE) -> None:
        super().__init__(inner, lock)
        self.name, self.patience = name, patience

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        begin, pause = time.monotonic(), 0.1
        while True:
            try:
                return method(*args)
            except Exception as error:
                if not passes(error):
                    raise
                if time.monotonic() - begin > self.patience:
                    # A plain error would be taken for one of the trial that runs.
                    raise keras_tuner.errors.FatalRuntimeError(
                        f"The storage {self.name!r} could not be reached for {self.patience:g} seconds: "
                        f"{first_line(error)} What has ended is there; start this worker again to go on."
                    ) from error
                _log.warning("The storage %r fails: %s Trying again.", self.name, first_line(error))
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def passes(error: BaseException) -> bool:
    """Returns whether an error of a storage may be gone when the same is tried again."""
    cause = _cause(error)
    if isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.connection_invalidated:
        return True
    redis = getattr(sys.modules.get("redis"), "exceptions", None)
    kinds = (redis.ConnectionError, redis.TimeoutError) if redis is not None else ()
    known = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
    return isinstance(cause, (*known, *kinds)) or getattr(cause, "errno", None) == errno.ESTALE


def first_line(error: BaseException) -> str:
    """Returns what an error says, without its details, as a sentence."""
    cause = _cause(error)
    told = str(getattr(cause, "orig", None) or cause).strip().splitlines() or [type(cause).__name__]
    return told[0].rstrip(".") + "."


def _cause(error: BaseException) -> BaseException:
    """Returns the error of the database behind one of Optuna's.

    Where a connection breaks within a transaction, Optuna asks the same in other words, and all that SQLAlchemy says
    to that is that the transaction must be rolled back first: what had happened stands behind it.
    """
    cause = (error.__cause__ or error) if isinstance(error, StorageInternalError) else error
    while isinstance(cause, sqlalchemy.exc.PendingRollbackError) and cause.__context__ is not None:
        cause = cause.__context__
    return cause
