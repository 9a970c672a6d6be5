"""What a console shows of a search that runs."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import rich
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from kopt.tuning.duration import duration
from kopt.tuning.ended import Outcome
from kopt.tuning.front import Objectives


class SearchProgress:
    """A line for each trial that has ended, and below them a bar with the state of the search.

    Args:
        total: Number of trials, None if nobody knows.
        objectives: Of the search.
        shown: Whether to show anything.
        console: None for rich's own.
    """

    def __init__(
        self, total: int | None, objectives: Objectives, *, shown: bool, console: Console | None = None
    ) -> None:
        self._total = total
        self._objectives = objectives
        self._shown = shown
        columns = (TextColumn("search"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console or rich.get_console(), disable=not shown, transient=True)
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, outcomes: Mapping[str, Outcome], front: Sequence[str], last: Outcome | None = None) -> None:
        """Shows the state, and a line for the trial that has just ended.

        Args:
            outcomes: By trial.
            front: The best trial; with several objectives the whole front; empty without one.
            last: What has just ended, None when the search begins.
        """
        if not self._shown:
            return
        told = state(outcomes, front, self._total, self._objectives)
        self._bar.update(self._task, completed=len(outcomes), description=told)
        if last is not None:
            self._bar.console.print(f"{line(last, self._objectives.names)}; {told}", markup=False, highlight=False)


def line(outcome: Outcome, names: Sequence[str]) -> str:
    """Returns a trial that has ended as text."""
    if outcome.status == "failed":
        return f"Trial {outcome.trial_id} failed: {outcome.error.splitlines()[0] if outcome.error else ''}"
    shown = []
    for name in names:
        deviation = outcome.metrics.get(f"{name}_std")
        spread = "" if deviation is None else f" ± {deviation:.2g}"
        shown.append(f"{name} {outcome.metrics[name]:.5g}{spread}")
    return f"Trial {outcome.trial_id} {outcome.status}: {', '.join(shown)}"


def state(outcomes: Mapping[str, Outcome], front: Sequence[str], total: int | None, objectives: Objectives) -> str:
    """Returns the state of a search as text: done, best so far, pruned, failed, estimated time left."""
    counts = [f"{len(outcomes)}{'' if total is None else f'/{total}'} done"]
    best = objectives.best({key: outcomes[key].metrics for key in front})
    for name, key in best.items():
        shown = f"{name} " if objectives.several else ""
        counts.append(f"best {shown}{outcomes[key].metrics[name]:.5g} in trial {key}")
    if objectives.several and front:
        counts.append(f"{len(front)} on the front")
    for status in ("pruned", "failed"):
        count = sum(outcome.status == status for outcome in outcomes.values())
        if count:
            counts.append(f"{count} {status}")
    left = 0 if total is None else total - len(outcomes)
    if left > 0 and outcomes:
        mean = sum(outcome.seconds for outcome in outcomes.values()) / len(outcomes)
        counts.append(f"about {duration(mean * left)} left")
    return ", ".join(counts)
