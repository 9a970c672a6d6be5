"""Whether the worker of a trial is still there: it counts, and others watch whether the count goes on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from kopt.tuning.storage.passing import first_line, passes

BEATS = 4  # In the time after which silence is death.
_NEW = object()
_log = logging.getLogger(__name__)


class Silence:
    """How long the counts of running trials have not changed, by this process' own clock.

    Between two looks, a count is silent for half the timeout at most: who was stopped itself, or could not reach the
    storage, has not heard what the others did meanwhile.

    Args:
        timeout: Seconds of silence after which a worker counts as dead; None for never.
    """

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._seen: dict[int, tuple[Any, float]] = {}
        self._last: float | None = None
        self._lock = threading.Lock()

    def look(self, counts: Mapping[int, Any]) -> None:
        """Notes the counts of the trials that run, by number."""
        if self.timeout is None:
            return
        with self._lock:
            now = time.monotonic()
            passed = 0.0 if self._last is None else min(now - self._last, self.timeout / 2)
            self._last = now
            known = {number: self._seen.get(number, (_NEW, 0.0)) for number in counts}
            self._seen = {
                number: (count, known[number][1] + passed if known[number][0] == count else 0.0)
                for number, count in counts.items()
            }

    def over(self) -> set[int]:
        """Returns the trials of workers that count as dead."""
        with self._lock:
            return {n for n, (_, silent) in self._seen.items() if self.timeout is not None and silent >= self.timeout}


class Pulse:
    """A thread that counts for the trial that this process runs, and looks at the others' counts.

    Args:
        timeout: Seconds of silence after which others give a trial away; None counts all the same, each 15 seconds.
        beat: Is called with each count; may raise what passes.
    """

    def __init__(self, timeout: float | None, beat: Callable[[int], None]) -> None:
        self._pause = (timeout or 60.0) / BEATS
        self._beat = beat
        self._count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopt-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(self._pause)

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            self._count += 1
            try:
                self._beat(self._count)
            except Exception as error:  # noqa: BLE001 (a thread has nobody to raise it to)
                if not passes(error):
                    _log.exception("The worker's sign of life failed.")
                    return
                _log.warning("The worker's sign of life did not arrive: %s", first_line(error))
