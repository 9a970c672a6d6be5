"""What a search with a storage begins with: its oracle, and whether it joins others. It loads what that needs."""

import os
from pathlib import Path
from typing import Any

import keras_tuner

from kopt._core import checks
from kopt.tuning import project


def sharing(storage: Any, worker_timeout: float | None, max_deaths: int) -> dict[str, Any]:
    """Returns what the oracle of a search with a storage is given more than others; nothing without a storage."""
    if storage is None:
        return {}
    return {"storage": storage, "worker_timeout": worker_timeout, "max_deaths": max_deaths}


def shared_oracle(storage: Any, **keywords: Any) -> keras_tuner.Oracle:
    """Returns the oracle of a search with a storage.

    Args:
        storage: As for `kopt.tuning.Tuner`.
        **keywords: Of `kopt.tuning.storage.oracle.StoredOracle`.
    """
    if "KERASTUNER_ORACLE_IP" in os.environ:
        raise checks.fail("storage", "None with KerasTuner's chief and workers", storage)
    from kopt.tuning.storage.oracle import StoredOracle  # It needs locks of POSIX.

    return StoredOracle(storage, **keywords)


def on_existing_of(on_existing: str | None, storage: Any) -> str:
    """Returns what to do with a search that is there already: with a storage, to join it."""
    if storage is None:
        return checks.choice("on_existing", on_existing or "error", project.ON_EXISTING)
    # The others' trials are not overwritten.
    return checks.choice("on_existing", on_existing or "resume", ("resume", "error"))


def found(oracle: Any, place: Path, on_existing: str) -> dict[str, Any] | None:
    """Returns what the search is that goes on; None if it is a new one."""
    if hasattr(oracle, "join"):
        return oracle.join(place, is_new=on_existing == "error")
    goes_on = project.prepare(place, on_existing)
    return project.read_json(place / project.RECORD) if goes_on else None
