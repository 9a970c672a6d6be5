"""Weights and optimizers on disk, and trials that go on with those of another one, for more epochs."""

from pathlib import Path
from typing import Any

import keras

from kopt.callbacks.run_length import tell_run_length
from kopt.tuning.project import read_json, write_json

_BUILD_CONFIG = "build_config.json"
_STATE = "state-"


def write_weights(model: Any, path: Path) -> None:
    """Writes weights and optimizer; whoever reads `path` finds the old file or the new one."""
    part = path.with_name(f"part-{path.name}")
    try:
        model.save_weights(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    write_json(path.parent / _BUILD_CONFIG, model.get_build_config())


def read_weights(model: Any, path: Path) -> None:
    """Reads what `write_weights` wrote into a new model."""
    if not model.built:
        model.build_from_config(read_json(path.parent / _BUILD_CONFIG))
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)  # Keras would leave its state in the file, with a warning.
    model.load_weights(path)


def state_path(path: Path) -> Path:
    """Returns where the state after the last epoch is, given where the weights of the best one are."""
    return path.with_name(_STATE + path.name)


def is_state(path: Path) -> bool:
    """Returns whether a file is a state that another trial may go on with."""
    return path.name.startswith(_STATE)


def epochs_of(values: dict[str, Any]) -> dict[str, int]:
    """Returns the arguments of `fit` that an oracle asks for which gives some trials more epochs than others."""
    if "tuner/epochs" not in values:
        return {}
    return {"epochs": values["tuner/epochs"], "initial_epoch": values.get("tuner/initial_epoch", 0)}


class FullLength(keras.callbacks.Callback):
    """Tells schedules in fractions the length of the longest trial: a short one is the beginning of a long one.

    Args:
        epochs: Of the longest trial.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        tell_run_length(self.model, {**(self.params or {}), "epochs": self._epochs})
