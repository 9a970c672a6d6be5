"""How long a search may go on, and through how many failures."""

import time

from kopt._core import checks
from kopt.tuning.outcome import Outcome


class Budget:
    """Says when no further trial begins.

    Args:
        time_budget: Seconds from `begin`, > 0; None for no end.
        max_epochs_total: Epochs of all trials together, >= 1; None for no end.
        max_consecutive_failures: Failures in a row that are an error, >= 1; None for never.
    """

    def __init__(
        self, time_budget: float | None, max_epochs_total: int | None, max_consecutive_failures: int | None
    ) -> None:
        self.time_budget = checks.optional(checks.positive, "time_budget", time_budget)
        self.max_epochs_total = checks.optional(checks.count, "max_epochs_total", max_epochs_total)
        self.max_consecutive_failures = checks.optional(
            checks.count, "max_consecutive_failures", max_consecutive_failures
        )
        self._failures = 0
        self._end = float("inf")

    def begin(self) -> None:
        """Begins to count seconds and failures."""
        self._failures = 0
        if self.time_budget is not None:
            self._end = time.monotonic() + self.time_budget

    def is_spent(self, outcomes: dict[str, Outcome]) -> bool:
        """Returns whether no further trial begins."""
        epochs = sum(outcome.epochs for outcome in outcomes.values())
        is_trained = self.max_epochs_total is not None and epochs >= self.max_epochs_total
        return is_trained or time.monotonic() >= self._end

    def count(self, outcome: Outcome) -> None:
        """Counts a trial that has ended.

        Raises:
            RuntimeError: It was one failure too many.
        """
        self._failures = self._failures + 1 if outcome.status == "failed" else 0
        if self._failures == self.max_consecutive_failures:
            raise RuntimeError(
                f"{self._failures} trials in a row have failed, which is `max_consecutive_failures`. The last error: "
                f"{outcome.error}"
            )
