"""What came of a trial, as one small file: written whole, and read without Keras."""

import dataclasses
from pathlib import Path

import numpy as np

from kopt.tuning.project import read_json, write_json

FILE = "outcome.json"


@dataclasses.dataclass
class Training:
    """One training of a trial: of a fold, or of one of several executions.

    Args:
        fold: Number of the fold, None without cross-validation.
        execution: Which of `executions_per_trial`.
        metrics: Of the best epoch.
        best_epoch: Its number, from 0.
        epochs: Epochs that were trained.
        values: The objective after each epoch; of several, the leading one.
        pruned: Whether it was stopped.
    """

    fold: int | None
    execution: int
    metrics: dict[str, float]
    best_epoch: int
    epochs: int
    values: list[float]
    pruned: bool = False


@dataclasses.dataclass
class Outcome:
    """What came of a trial.

    Args:
        trial_id: The trial's.
        status: "completed", "pruned" or "failed".
        metrics: Mean over the trainings, and with folds `<name>_std`.
        trainings: One by one.
        epochs: Epochs of all trainings together.
        seconds: Duration of the trial.
        error: In one line.
        traceback: All of it.
    """

    trial_id: str
    status: str = "completed"
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    trainings: list[Training] = dataclasses.field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""

    def write(self, directory: Path) -> None:
        """Writes the file of this trial into its directory."""
        write_json(directory / FILE, dataclasses.asdict(self))

    @property
    def best_epoch(self) -> int:
        """Mean over the trainings, rounded."""
        return round(float(np.mean([training.best_epoch for training in self.trainings or []] or [0])))


def read(directory: Path) -> dict[str, Outcome]:
    """Returns the outcomes in the directory of a search, by trial."""
    found = {}
    for path in sorted(directory.glob(f"trial_*/{FILE}")):
        one = read_one(path)
        found[one.trial_id] = one
    return found


def read_one(path: Path) -> Outcome:
    """Returns the outcome in a file."""
    stored = read_json(path)
    stored["trainings"] = [Training(**training) for training in stored["trainings"]]
    return Outcome(**stored)
