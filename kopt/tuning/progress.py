"""What a console shows of a search that runs."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import rich
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from kopt.tuning.duration import duration
from kopt.tuning.ended import Outcome


class SearchProgress:
    """A line for each trial that has ended, and below them a bar with the state of the search.

    Args:
        total: Number of trials, None if nobody knows.
        objective: The oracle's.
        shown: Whether to show anything.
        console: None for rich's own.
    """

    def __init__(self, total: int | None, objective: Any, *, shown: bool, console: Console | None = None) -> None:
        self._total = total
        self._objective = objective
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

    def update(self, outcomes: Mapping[str, Outcome], best: str | None, last: Outcome | None = None) -> None:
        """Shows the state, and a line for the trial that has just ended.

        Args:
            outcomes: By trial.
            best: The best trial, None without one.
            last: What has just ended, None when the search begins.
        """
        if not self._shown:
            return
        told = state(outcomes, best, self._total, self._objective.name)
        self._bar.update(self._task, completed=len(outcomes), description=told)
        if last is not None:
            self._bar.console.print(f"{line(last, self._objective.name)}; {told}", markup=False, highlight=False)


def line(outcome: Outcome, objective: str) -> str:
    """Returns a trial that has ended as text."""
    if outcome.status == "failed":
        return f"Trial {outcome.trial_id} failed: {outcome.error.splitlines()[0] if outcome.error else ''}"
    value, deviation = outcome.metrics[objective], outcome.metrics.get(f"{objective}_std")
    spread = "" if deviation is None else f" ± {deviation:.2g}"
    return f"Trial {outcome.trial_id} {outcome.status}: {objective} {value:.5g}{spread}"


def state(outcomes: Mapping[str, Outcome], best: str | None, total: int | None, objective: str) -> str:
    """Returns the state of a search as text: done, best so far, pruned, failed, estimated time left."""
    counts = [f"{len(outcomes)}{'' if total is None else f'/{total}'} done"]
    if best is not None:
        counts.append(f"best {outcomes[best].metrics[objective]:.5g} in trial {best}")
    for status in ("pruned", "failed"):
        count = sum(outcome.status == status for outcome in outcomes.values())
        if count:
            counts.append(f"{count} {status}")
    left = 0 if total is None else total - len(outcomes)
    if left > 0 and outcomes:
        mean = sum(outcome.seconds for outcome in outcomes.values()) / len(outcomes)
        counts.append(f"about {duration(mean * left)} left")
    return ", ".join(counts)
