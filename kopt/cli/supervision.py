"""Keeps workers running: starts again what has died, gives up on what dies at once, and leaves nothing behind."""

import contextlib
import dataclasses
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kopt.cli import guard
from kopt.cli.worker import Worker

_LONGEST_PAUSE = 30.0
_WAKES = 1.0  # Seconds: a signal that no descriptor has told of is seen by then.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass
class Policy:
    """When to start again, and how to end.

    Args:
        max_restarts: After how many quick deaths in a row a worker is started again, >= 0.
        healthy_after: Seconds, from which on a death is no quick one.
        backoff: Seconds before the first new start; each quick death in a row doubles them, up to 30.
        grace: Seconds between a polite signal and SIGKILL.
    """

    max_restarts: int = 3
    healthy_after: float = 60.0
    backoff: float = 1.0
    grace: float = 10.0


class Supervisor:
    """Runs workers until each is done or given up on, or a signal ends all.

    Args:
        workers: To be run.
        policy: How.
        tell: Is given what happens, as text.
    """

    def __init__(self, workers: Sequence[Worker], policy: Policy, tell: Callable[[str], None]) -> None:
        self._workers, self._policy, self._tell = list(workers), policy, tell
        self._received: list[int] = []
        self._ends_by: int | None = None
        self._deadline: float | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Returns 0 if all workers are done, 1 if one was given up on, 128 + number of the signal that ended them."""
        command = [sys.executable, "-I", "-S", guard.__file__]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)
        with selectors.DefaultSelector() as selector, _signals(self._received, selector):
            try:
                while any(worker.outcome == "open" for worker in self._workers):
                    self._turn(selector)
            finally:
                self._kill()
        if self._ends_by is not None:
            return 128 + self._ends_by
        return int(any(worker.outcome != "done" for worker in self._workers))

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Does what there is to do, and waits for what comes next."""
        while self._received:
            self._pass_on(self._received.pop(0))
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            for worker in self._running():
                worker.signal(signal.SIGKILL)
        self._start_due(selector)
        for key, _ in selector.select(self._pause()):
            if not isinstance(key.data, Worker):
                os.read(key.fd, 4096)
            elif not key.data.read():
                selector.unregister(key.fd)
        for worker in self._running():
            if worker.process is not None and worker.process.poll() is not None:
                output = worker.output
                if output is not None and output in selector.get_map():
                    selector.unregister(output)
                self._ended(worker, worker.process.pid, worker.process.returncode)

    def _start_due(self, selector: selectors.BaseSelector) -> None:
        for worker in self._workers:
            if worker.due is not None and worker.due <= time.monotonic():
                self._inform(f"+{worker.start()}")
                if worker.output is not None:
                    selector.register(worker.output, selectors.EVENT_READ, worker)

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.is_running]

    def _pause(self) -> float:
        """Returns the seconds until something is to be done that no descriptor tells of."""
        moments = [worker.due for worker in self._workers] + [self._deadline]
        left = [max(0.0, moment - time.monotonic()) for moment in moments if moment is not None]
        return min([_WAKES, *left])

    def _ended(self, worker: Worker, group: int, code: int) -> None:
        """Decides what becomes of a worker whose process has ended."""
        worker.signal(signal.SIGKILL)  # What it has started and left behind.
        self._inform(f"-{group}")
        worker.close()
        seconds = time.monotonic() - worker.begun
        if code == 0:
            worker.outcome = "done"
            return
        if self._ends_by is not None:
            worker.outcome = "stopped"
            return
        is_quick = seconds < self._policy.healthy_after
        worker.quick_deaths = worker.quick_deaths + 1 if is_quick else 0
        told = f"worker {worker.number} {_death(code)} after {seconds:.1f} s"
        if worker.quick_deaths > self._policy.max_restarts:
            worker.outcome = "given up"
            last = worker.last_lines() or "(nothing)"
            self._tell(f"{told}, for the {_nth(worker.quick_deaths)} time in a row: given up. It said last:\n{last}")
            return
        pause = min(_LONGEST_PAUSE, self._policy.backoff * 2 ** max(0, worker.quick_deaths - 1))
        worker.due = time.monotonic() + pause
        self._tell(f"{told}; it is started again in {pause:g} s")

    def _pass_on(self, number: int) -> None:
        """Asks all workers to end; a second time, there is no grace."""
        is_first = self._ends_by is None
        self._ends_by = number if self._ends_by is None else self._ends_by
        self._deadline = time.monotonic() + (self._policy.grace if is_first else 0.0)
        running = self._running()
        for worker in self._workers:
            if worker.due is not None:
                worker.due, worker.outcome = None, "stopped"
        if is_first:
            name = signal.Signals(number).name
            self._tell(f"{name}: it is passed on to {len(running)} workers, which have {self._policy.grace:g} s")
            for worker in running:
                worker.signal(number)

    def _inform(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # Somebody has killed it: the kernel's own way is left.
                self._guard.stdin.write(f"{line}\n".encode())

    def _kill(self) -> None:
        """Ends whatever still runs: after an error, as nothing does otherwise."""
        for worker in self._running():
            if worker.process is not None:
                worker.signal(signal.SIGKILL)
                worker.process.wait()
                self._inform(f"-{worker.process.pid}")
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()


@contextlib.contextmanager
def _signals(received: list[int], selector: selectors.BaseSelector) -> Iterator[None]:
    """Collects the signals that are passed on, and lets those and the end of a child wake the selector."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before: dict[int, Any] = {}
    for number in _PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:  # As `nohup` has it for SIGHUP: that stays.
            before[number] = signal.signal(number, lambda number, _: received.append(number))
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    selector.register(reading, selectors.EVENT_READ)
    try:
        yield
    finally:
        selector.unregister(reading)
        signal.set_wakeup_fd(woken)
        for restored, handler in before.items():
            signal.signal(restored, handler)
        os.close(reading)
        os.close(writing)


def _death(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _nth(count: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
