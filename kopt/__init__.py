"""Optimizers, schedules, instrumentation and tuning for Keras 3."""

from kopt import optimizers, schedules, transforms

__all__ = ["SAM", "callbacks", "monitoring", "optimizers", "schedules", "transforms"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "SAM":
        from kopt.training import SAM

        return SAM
    # The callbacks need an event writer, which a process that only trains or loads a model need not import.
    if name in ("callbacks", "monitoring"):
        import importlib

        return importlib.import_module(f"kopt.{name}")
    raise AttributeError(f"module 'kopt' has no attribute {name!r}")
