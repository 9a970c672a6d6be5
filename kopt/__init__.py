"""Optimizers, schedules, instrumentation and tuning for Keras 3."""

from kopt import layers, losses, optimizers, regularizers, schedules, training, transforms
from kopt.training import SAM

__all__ = [
    "SAM",
    "callbacks",
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


def __getattr__(name: str) -> object:
    import importlib

    # The callbacks need an event writer, the search Optuna; a process that only trains or loads a model needs neither.
    if name in ("callbacks", "monitoring", "probing", "sklearn", "tuning"):
        return importlib.import_module(f"kopt.{name}")
    if name in ("find_batch_size", "find_learning_rate"):
        return getattr(importlib.import_module("kopt.probing"), name)
    raise AttributeError(f"module 'kopt' has no attribute {name!r}")
