"""Optimizers, schedules, instrumentation and tuning for Keras 3."""

from kopt import layers, losses, optimizers, regularizers, schedules, training, transforms
from kopt.training import SAM

__all__ = [
    "SAM",
    "callbacks",
    "diagnose",
    "diagnosis",
    "layers",
    "losses",
    "monitoring",
    "optimizers",
    "regularizers",
    "schedules",
    "training",
    "transforms",
    "tuning",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # The callbacks need an event writer, the search Optuna; a process that only trains or loads a model needs neither.
    if name in ("callbacks", "diagnosis", "monitoring", "tuning"):
        import importlib

        return importlib.import_module(f"kopt.{name}")
    if name == "diagnose":
        from kopt.diagnosis import diagnose

        return diagnose
    raise AttributeError(f"module 'kopt' has no attribute {name!r}")
