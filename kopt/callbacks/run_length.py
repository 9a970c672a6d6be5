"""What every kopt callback does first when `fit` starts: it tells schedules in fractions how long the run is."""

import warnings
from typing import Any

from kopt.schedules import resolve
from kopt.schedules.resolve import runs


def tell_run_length(model: Any, params: dict[str, Any] | None) -> None:
    """Resolves the schedules of a model's optimizer, layers and loss for the run that `fit` begins.

    A schedule that knows another length keeps it, with a warning: a second `fit` goes on with the run of the first.

    Args:
        model: The callback's model.
        params: The callback's parameters, of which `epochs` and `steps` are used.

    Raises:
        ValueError: A schedule waits for the length of the run, and `fit` does not know it.
    """
    params = params or {}
    known = runs(model)
    if not known:
        return
    epochs, steps = params.get("epochs", 1), params.get("steps", 0)
    if None in known or steps:
        try:
            resolve(model, epochs, steps)
        except ValueError as error:
            if None in known:
                raise
            warnings.warn(f"The schedule is not told about this `fit`. {error}", stacklevel=3)
