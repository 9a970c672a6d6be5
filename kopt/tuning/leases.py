"""Which of several workers are still there: each is heard of when it asks, reports or ends a trial."""

import time
from collections.abc import Iterable


class Leases:
    """When each worker was last heard of, and which of them wait for others.

    Args:
        timeout: Seconds of silence after which a worker counts as dead; None for never.
    """

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.waiting: set[str] = set()
        self._heard: dict[str, float] = {}

    def hear(self, worker: str) -> None:
        """Notes that a worker is there, and does not wait."""
        self._heard[worker] = time.monotonic()
        self.waiting.discard(worker)

    def silent(self, workers: Iterable[str]) -> list[str]:
        """Returns those of `workers` that count as dead."""
        now = time.monotonic()
        return [w for w in workers if self.timeout is not None and now - self._heard.setdefault(w, now) > self.timeout]

    def may_come_back(self, workers: Iterable[str], busy: Iterable[str], asking: str) -> bool:
        """Returns whether a worker other than `asking` may leave something to do: it has a trial, or does not wait.

        Args:
            workers: Those that have not been told to stop.
            busy: Those that have a trial.
            asking: Who wants to know.
        """
        others = set(workers) - {asking}
        return self.timeout is not None and bool(others & set(busy) or others - self.waiting)
