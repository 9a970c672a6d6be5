"""A journal in a file that survives the death of whoever writes it, at any moment."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from kopt._core import checks

# Optuna's own backend leaves its lock behind when its process is killed, for which others wait half a minute and then
# break it, and half a record when it is killed in the middle of one, after which nobody can read the file.


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes and threads out that lock the same file; the system unlocks it for a process that dies.

    Args:
        path: Of the file, which is made if it is not there, and left there.

    Raises:
        ValueError: The file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            advice = "Use postgresql://, or optuna.storages.JournalStorage with a lock of Optuna's."
            rule = f"on a file system with locks (flock: {error.strerror})"
            raise checks.fail("storage", rule, str(path), advice) from error
        yield
    finally:
        os.close(descriptor)


class JournalFile(BaseJournalBackend):
    """The backend of an `optuna.storages.JournalStorage`: a record of JSON a line, appended under the file's own lock.

    What a writer that was killed has left of a line is cut off by the next one: it was not told to anybody.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places = {0: 0}
        with locked(path):
            pass

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            start = max(number for number in self._places if number <= log_number_from)
            file.seek(self._places[start])
            lines = file.read().split(b"\n")[:-1]  # What follows the last end of a line is not whole.
        place = self._places[start]
        for number, line in enumerate(lines, start):
            place += len(line) + 1
            if number >= log_number_from:
                self._places = {0: 0, number + 1: place}
                yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with locked(self.path), self.path.open("r+b") as file:
            end = _whole(file)
            try:
                file.seek(end)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise


def _whole(file: Any) -> int:
    """Returns the length of a journal up to the end of its last whole line, and cuts off what follows."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        begin = max(0, end - 4096)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        file.truncate(end)
    return int(end)
