"""What each trial of a search trains with beside its data: trials of different conditions are not comparable."""

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import keras

from kopt.tuning.folds import Arguments
from kopt.tuning.project import fingerprint

_BATCH_SIZE = 32  # What `fit` takes if it is given none.
_DATA = ("x", "y", "sample_weight", "validation_data", "validation_split")  # These are compared as data.
_HARMLESS = ("verbose", "callbacks", "validation_batch_size")


def conditions(given: Arguments, hypermodel: Any, further: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `search` and the hypermodel say on how each trial trains, as JSON can hold it.

    What has Keras' default value is left out, except for the epochs and the batch size; texts are, too: what is one may
    be the name of a file.

    Args:
        given: What `search` was given.
        hypermodel: Its `conditions` count, if it has any. May be None.
        further: What else counts, by name.
    """
    parameters = {n: p for n, p in inspect.signature(keras.Model.fit).parameters.items() if n != "self"}
    named = dict(given.kwargs)
    fit = getattr(hypermodel, "fit", None)
    if fit and any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(fit).parameters.values()):
        named |= dict(zip(parameters, given.args, strict=False))
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    found = {
        name: value
        for name, value in named.items()
        if name not in (*_DATA, *_HARMLESS) and not _is_default(value, defaults.get(name))
    }
    own = dict(getattr(hypermodel, "conditions", {}))
    usual = {"epochs": own.pop("epochs", 1), "batch_size": _BATCH_SIZE}
    return fingerprint(usual | dict(further) | own | found)


def _is_default(value: Any, default: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, bool | int | float) and value == default)


def described(part: Any) -> Any:
    """Returns what tells a loss, or a structure of losses, from another one.

    Args:
        part: Names, functions, losses, or lists or dicts of these; None for None.
    """
    if isinstance(part, Mapping):
        return repr({name: described(value) for name, value in part.items()})
    if isinstance(part, list | tuple):
        return repr([described(value) for value in part])
    if part is None or isinstance(part, str):
        return part
    if isinstance(part, keras.losses.Loss):
        config = json.dumps(part.get_config(), default=repr, sort_keys=True)
        return re.sub(r" at 0x[0-9a-f]+", "", f"{type(part).__name__}({config})")
    return getattr(part, "__name__", type(part).__name__)
