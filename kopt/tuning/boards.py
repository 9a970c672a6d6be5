"""What TensorBoard shows of a search: a directory per trial and fold, a row of hyperparameters per trial, the best."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kopt._core import checks
from kopt.callbacks import TensorBoard, hparams
from kopt.callbacks.writer import EventWriter
from kopt.tuning.ended import Outcome
from kopt.tuning.stored import settings

BEST = "search/best_so_far"


class Boards:
    """Logs a search into `<directory>/trial_<id>`, with folds in `fold_<k>` below it, and `<directory>/search`.

    With several workers, each has its own `search-<host>-<pid>`, as one directory is for one writer.

    A trial is one session of the "HParams" page. With one training it is that training's own; with several, their mean
    is written beside them.

    Args:
        directory: Where to log; None logs nothing.
    """

    def __init__(self, directory: Any) -> None:
        self._directory = None if directory is None else str(directory)
        if self._directory is not None:
            checks.text("tensorboard", self._directory)
        self.run = "search"
        self._search: EventWriter | None = None

    def prepare(self, *, goes_on: bool, overwrite: bool) -> None:
        """Makes room for a new search.

        Args:
            goes_on: Whether the runs that are there are this search's.
            overwrite: Whether others are deleted, rather than being an error.
        """
        found = [] if goes_on or self._directory is None else self._files("trial_*") + self._files("search*")
        if found and not overwrite:
            raise checks.fail("tensorboard", "a directory without the runs of another search", self._directory)
        for path in found:
            path.unlink()

    def begin_trial(self, trial: Any) -> None:
        """Deletes what a run of this trial has left that was killed or is tried again."""
        for path in [] if self._directory is None else self._files(f"trial_{trial.trial_id}"):
            path.unlink()

    def _files(self, name: str) -> list[Path]:
        return list(Path(str(self._directory)).glob(f"{name}/**/*tfevents*"))

    def callbacks(self, trial: Any, part: str | None) -> list[Any]:
        """Returns what logs one training.

        Args:
            trial: The trial.
            part: Name of the fold or execution, None if the trial has one training.
        """
        if self._directory is None:
            return []
        place = self._of(trial.trial_id) / (part or "")
        return [TensorBoard(str(place), page=part is None, hparams=values_of(trial))]

    def end_trial(self, trial: Any, outcome: Outcome, best: Mapping[str, float], count: int) -> None:
        """Writes what came of a trial.

        Args:
            trial: The trial.
            outcome: What came of it.
            best: Of each objective, by name, the best value so far; empty without a trial that counts.
            count: Number of trials that have ended.
        """
        if self._directory is None:
            return
        has_own = any(self._of(trial.trial_id).glob("*tfevents*"))
        if not has_own or outcome.status == "failed":
            self._session(trial, outcome.metrics, success=outcome.status != "failed")
        if best:
            self._search = self._search or EventWriter(str(Path(self._directory) / self.run))
            tags = {BEST if len(best) == 1 else f"{BEST}/{name}": value for name, value in best.items()}
            self._search.add_scalars(tags, count)
            self._search.flush()

    def close(self) -> None:
        """Writes what is left."""
        if self._search is not None:
            self._search.close()
            self._search = None

    def _session(self, trial: Any, metrics: Mapping[str, float], *, success: bool) -> None:
        place = self._of(trial.trial_id)
        values = values_of(trial)
        root = EventWriter(str(place))
        root.add([hparams.start_value(values), hparams.experiment_value(values, metrics, chosen=True)], 0)
        for name, value in metrics.items():
            own = name.removeprefix("val_")
            writer = EventWriter(str(place / ("train" if own == name else "validation")))
            writer.add_scalars({f"epoch_{own}": value}, 0)
            writer.close()
        root.add([hparams.end_value(success=success)], 0)
        root.close()

    def _of(self, trial_id: str) -> Path:
        return Path(str(self._directory)) / f"trial_{trial_id}"


def values_of(trial: Any) -> dict[str, Any]:
    """Returns the active hyperparameters of a trial."""
    return settings(trial.hyperparameters.get_config())
