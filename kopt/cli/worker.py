"""One of the equal processes that `kopt launch` runs: starting it, its output, and its end."""

import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LAST_LINES = 10
_LONGEST = 1 << 16  # Bytes of a line; a progress bar without line ends is shown in pieces.
_PR_SET_PDEATHSIG = 1


class Worker:
    """A process that may be started again.

    Attributes:
        process: The running one, or the last one; None before the first.
        due: When it is to be started, in seconds as `time.monotonic` has them; None if it is not.
        begun: When the last one was started.
        quick_deaths: How many in a row.
        outcome: "open", "done", "given up" or "stopped".

    Args:
        number: From 0.
        command: What to run.
        environment: Of the process.
        log: File for its output, which grows with each start; None for standard output.
    """

    def __init__(
        self, number: int, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.due: float | None = 0.0
        self.begun = 0.0
        self.quick_deaths = 0
        self.outcome = "open"
        self._command, self._environment, self._log = list(command), dict(environment), log
        self._starts = self._offset = 0
        self._rest = b""
        self._lines: collections.deque[bytes] = collections.deque(maxlen=LAST_LINES)

    @property
    def is_running(self) -> bool:
        """Whether there is a process whose end has not been seen."""
        return self.process is not None and self.process.returncode is None

    @property
    def output(self) -> int | None:
        """The descriptor that its output comes from, None if it goes to a file or has ended."""
        pipe = None if self.process is None else self.process.stdout
        return None if pipe is None or pipe.closed else pipe.fileno()

    def start(self) -> int:
        """Starts the process, in a group of its own, and returns its number, which is the group's."""
        self.due, self.begun, self._starts = None, time.monotonic(), self._starts + 1
        self._rest = b""
        self._lines.clear()
        with contextlib.ExitStack() as opened:
            target: int = subprocess.PIPE
            if self._log is not None:
                file = opened.enter_context(self._log.open("ab"))
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                file.write(f"--- worker {self.number}, start {self._starts}, {now} ---\n".encode())
                file.flush()
                target, self._offset = file.fileno(), file.tell()
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_bound_to_this_process(),
            )
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)
        return self.process.pid

    def signal(self, number: int) -> None:
        """Sends a signal to the process, or with SIGKILL to whatever it has started as well."""
        if self.process is None:
            return
        send = os.killpg if number == signal.SIGKILL else os.kill
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.process.pid, number)

    def read(self) -> bool:
        """Takes the output that is there, writes whole lines to standard output, and returns whether more may come."""
        descriptor = self.output
        if descriptor is None:
            return False
        while True:
            try:
                piece = os.read(descriptor, _LONGEST)
            except BlockingIOError:
                return True
            if not piece:
                return False
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > _LONGEST:
                lines, self._rest = [*lines, self._rest], b""
            self._write(lines)

    def close(self) -> None:
        """Takes what is left of the output, and closes the pipe: what the process has started may hold it open."""
        self.read()
        if self._rest:
            self._write([self._rest])
            self._rest = b""
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def _write(self, lines: Sequence[bytes]) -> None:
        self._lines.extend(lines)
        prefix = f"[{self.number}] ".encode()
        sys.stdout.buffer.write(b"".join(prefix + line + b"\n" for line in lines))
        sys.stdout.buffer.flush()

    def last_lines(self) -> str:
        """Returns the end of what the last process has written."""
        lines = list(self._lines)
        if self._log is not None:
            with self._log.open("rb") as file:
                file.seek(max(self._offset, self._log.stat().st_size - _LONGEST))
                lines = file.read().splitlines()[-LAST_LINES:]
        return b"\n".join(lines).decode(errors="replace")


def _bound_to_this_process() -> Callable[[], None] | None:
    """Returns what a child does before it becomes another program: it asks Linux to end it with this process."""
    if not sys.platform.startswith("linux"):
        return None
    libc, launcher = ctypes.CDLL(None), os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # It has died in between.
            os._exit(1)

    return bind
