"""Sends to a server from a thread of its own, so that training never waits for a network."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any


class Sender:
    """Collects items, and hands them over about once a second, in the order in which they came.

    Args:
        send: Gets a list of items, in the sender's thread.
        end: Called there after the last item.
        errors: What `send` and `end` raise when the server fails. What they were given is lost then.
        interval: Seconds from one hand-over to the next.
        most: How many items may wait while the server does not answer; older ones are lost.
    """

    def __init__(
        self,
        send: Callable[[list[Any]], None],
        end: Callable[[], None],
        errors: tuple[type[Exception], ...],
        interval: float = 1.0,
        most: int = 100_000,
    ) -> None:
        self._send, self._end, self._errors = send, end, errors
        self._interval = interval
        self._lock = threading.Lock()
        self._waiting: deque[Any] = deque(maxlen=most)
        self._trouble: str | None = None
        self._wake = threading.Event()
        self._is_closing = False
        # A daemon: a server that does not answer must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="kopt-sender", daemon=True)
        self._thread.start()

    def put(self, items: Sequence[Any]) -> None:
        """Takes items, and raises an `OSError` if something has been lost since the last call."""
        with self._lock:
            assert self._waiting.maxlen is not None
            excess = len(self._waiting) + len(items) - self._waiting.maxlen
            self._waiting.extend(items)
        if excess > 0:
            self._trouble = f"The server has not answered: the oldest {excess} of the values that wait are lost"
        self._tell()

    def flush(self) -> None:
        """Has what is waiting sent now, and does not wait for it."""
        self._wake.set()

    def close(self, limit: float = 10.0) -> None:
        """Sends what is left, for up to `limit` seconds, and raises an `OSError` if something was lost."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(limit)
        if self._thread.is_alive():
            raise OSError(f"The server has not answered for {limit:g} s: the last values are lost")
        self._tell()

    def _tell(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise OSError(trouble)

    def _work(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            is_last = self._is_closing
            with self._lock:
                items = list(self._waiting)
                self._waiting.clear()
            if items:
                self._attempt(f"{len(items)} values are lost", self._send, items)
            if is_last:
                self._attempt("The run's end is not marked", self._end)
                return

    def _attempt(self, loss: str, what: Callable[..., None], *arguments: Any) -> None:
        try:
            what(*arguments)
        except self._errors as error:
            self._trouble = f"{loss} ({type(error).__name__}: {error})"
