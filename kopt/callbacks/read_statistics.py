"""Statistics for a diagnosis from the directory of a run: what `Diagnose` kept, or else what event files hold."""

from pathlib import Path

from kopt._core import checks
from kopt.callbacks import places
from kopt.callbacks.past import EPOCH, events
from kopt.diagnosis import Look, Statistics

FILE = "diagnosis.json"
"""Where `Diagnose` keeps a run's statistics in its `log_dir`."""
_NOT_OF_STEPS = (EPOCH, "batch_", "guide/", "hyperparameters/", "evaluation_", "samples/", "learning_rate/schedule")


def read_statistics(log_dir: str | Path) -> Statistics:
    """Returns what a run's directory tells about it, to be judged by `kopt.diagnose`.

    If `kopt.callbacks.Diagnose(log_dir=...)` was there, all that it saw: `kopt.diagnose` finds the same. Otherwise what
    event files of `kopt.callbacks.TensorBoard` hold in `train` and `validation`: losses, metrics, norms, updates and
    rates, and activations where they were monitored. Nothing is then known of data and model, and rules that need
    them say nothing.

    Args:
        log_dir: Directory of the run.

    Returns:
        A `kopt.diagnosis.Statistics`.

    Raises:
        ValueError: There is neither in `log_dir`.

    Example:

    ```python
    kopt.diagnose(kopt.callbacks.read_statistics("logs/run"))
    ```
    """
    place = str(log_dir)
    if not places.is_remote(place) and (Path(place) / FILE).exists():
        return Statistics.load(Path(place) / FILE)
    train, validation = (_scalars(f"{place}/{part}") for part in ("train", "validation"))
    if not train:
        train = _scalars(place)
    if not train:
        advice = "`kopt.callbacks.Diagnose(log_dir=...)` and `kopt.callbacks.TensorBoard(log_dir)` write one."
        raise checks.fail("log_dir", f"a directory with `{FILE}` or event files of a training", place, advice)
    return _from_events(train, validation)


def _scalars(directory: str) -> dict[str, dict[int, float]]:
    """Returns the scalars of a directory's event files: by tag, then by step; a later one counts."""
    found: dict[str, dict[int, float]] = {}
    if not places.is_remote(directory) and not Path(directory).is_dir():
        return found
    for path, _ in places.event_files(directory):
        with places.opened(path) as file:
            for event in events(file):
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        found.setdefault(value.tag, {})[event.step] = float(value.simple_value)
    return found


def _from_events(train: dict[str, dict[int, float]], validation: dict[str, dict[int, float]]) -> Statistics:
    metrics = {name.removeprefix("epoch_"): by for name, by in train.items() if name.startswith("epoch_")}
    metrics |= {
        f"val_{name.removeprefix('epoch_')}": by for name, by in validation.items() if name.startswith("epoch_")
    }
    epochs = sorted({epoch for by in metrics.values() for epoch in by})
    logs = [{"epoch": epoch, **{name: by[epoch] for name, by in metrics.items() if epoch in by}} for epoch in epochs]
    ends = sorted((step, round(epoch)) for step, epoch in train.get(EPOCH, {}).items())
    of_steps = {tag: by for tag, by in train.items() if not tag.startswith(_NOT_OF_STEPS)}
    steps = sorted({step for by in of_steps.values() for step in by})
    statistics = Statistics(epochs=logs, is_over=True)
    for step in steps:
        numbers = {tag: by[step] for tag, by in of_steps.items() if step in by}
        statistics.add(Look(step, _epoch_of(step, ends), numbers))
    return statistics


def _epoch_of(step: int, ends: list[tuple[int, int]]) -> int:
    """Returns the epoch in which a step was taken, from the last steps of epochs."""
    return next((epoch for end, epoch in ends if step <= end), ends[-1][1] if ends else 0)


def place_of(log_dir: str) -> Path | None:
    """Returns the path of the file of statistics in a run's directory, or None where that is not on this machine."""
    return None if places.is_remote(log_dir) else Path(log_dir) / FILE
