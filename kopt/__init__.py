"""Optimizers, schedules, instrumentation and tuning for Keras 3."""

import importlib
import os
import sys


def _is_command() -> bool:
    """Whether this process is the command `kopt`, which trains nothing: Keras would cost it seconds and memory."""
    if sys.argv[:1] == ["-m"]:  # So Python says while it looks for the module that it is to run.
        return "kopt" in sys.orig_argv
    return os.path.basename((sys.argv or [""])[0]) in ("kopt", "kopt.exe", "kopt-script.py")


# All at once elsewhere: what has been imported can be loaded by `keras.saving.load_model`.
if not _is_command():
    from kopt import layers, losses, optimizers, regularizers, schedules, training, transforms
    from kopt.training import SAM

__all__ = [
    "SAM",
    "callbacks",
    "diagnose",
    "diagnosis",
    "find_batch_size",
    "find_learning_rate",
    "layers",
    "losses",
    "monitoring",
    "optimizers",
    "probing",
    "regularizers",
    "schedules",
    "sklearn",
    "training",
    "transforms",
    "tuning",
]
__version__ = "0.1.0"
_HOMES = {
    "SAM": "kopt.training",
    "diagnose": "kopt.diagnosis",
    "find_batch_size": "kopt.probing",
    "find_learning_rate": "kopt.probing",
}


def __getattr__(name: str) -> object:
    # The callbacks need an event writer, the search Optuna; a process that only trains or loads a model needs neither.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"kopt.{name}")
    raise AttributeError(f"module 'kopt' has no attribute {name!r}")
