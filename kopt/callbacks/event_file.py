"""An event file: whole events, handed to the disk every half second by a thread of its own."""

import atexit
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from kopt._core.warn import warn_user
from kopt.callbacks import places

FLUSH_SECONDS = 0.5
MOST_WAITING, AT_ONCE = 100_000, 1000
"""Events that are kept while they cannot be written, and that are written in one piece."""


class EventFile:
    """A new event file.

    Training does not wait for the disk. While events cannot be written, as on a full disk, they are kept and tried
    again; a warning says so once, and another at the end says what was lost.

    Args:
        directory: Where the file goes; it is made.
        suffix: Makes the file's name unique among those that begin in the same second.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, directory: str, suffix: str) -> None:
        from tensorboardX.proto.event_pb2 import Event

        # TensorBoard reads the files of a run in the order of their names.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}{suffix}"
        self._file = places.created(directory, name)
        self.path = f"{directory}/{name}"
        head = Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString()
        self._waiting: deque[bytes] = deque([head], MOST_WAITING)
        self._lost, self._process = 0, os.getpid()
        self._error: OSError | None = None  # Of the last attempt.
        self._trouble: OSError | None = None  # Of any.
        self._has_warned = False
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopt event file", daemon=True)
        self._thread.start()
        self._wake.set()
        atexit.register(self.close)

    def add(self, event: bytes) -> None:
        """Takes a serialized `Event`."""
        self._lost += len(self._waiting) == MOST_WAITING
        self._waiting.append(event)
        if not self._wake.is_set():
            self._wake.set()
        if self._error is not None:
            self._warn("They are kept, and tried again.")

    def flush(self) -> None:
        """Writes what is waiting; keeps it if that fails."""
        if os.getpid() != self._process:  # A fork has a copy of what is waiting, which is not its own.
            return
        with self._lock:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
                try:
                    self._file.append(b"".join(map(_record, taken)))
                    self._error = None
                except OSError as error:
                    self._error = self._trouble = error
                    surplus = max(0, len(self._waiting) + len(taken) - MOST_WAITING)
                    self._lost += surplus
                    self._waiting.extendleft(reversed(taken[surplus:]))
                    return

    def close(self) -> None:
        """Writes what is left and closes the file."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            return
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self.flush()
        try:
            self._file.close()
        except OSError as error:
            self._error = self._trouble = error
        lost = self._lost + len(self._waiting)
        if self._error is not None or lost:
            self._has_warned = False
            self._warn(f"{lost} of them are lost." if lost else "The last of them may be lost.")

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush()
            if self._error is not None:
                self._wake.set()

    def _warn(self, rest: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn_user(f"Events cannot be written to {self.path!r} ({self._trouble}). {rest} Training goes on.")


def _record(data: bytes) -> bytes:
    """Returns an event with its length and checksums, as TensorBoard reads it."""
    from tensorboardX.record_writer import masked_crc32c

    head = struct.pack("<Q", len(data))
    return b"".join((head, struct.pack("<I", masked_crc32c(head)), data, struct.pack("<I", masked_crc32c(data))))


class ScalarEvent:
    """Serialises events with the same tags: only their times, steps and numbers differ.

    It is made of what protobuf makes of such an event, which takes ten times as long: each value ends with its number,
    in 32 bits, and messages may be put together from pieces.

    Args:
        tags: One or more.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        self._event = Event
        values = [Summary(value=[Summary.Value(tag=tag, simple_value=1.0)]).SerializeToString() for tag in tags]
        whole = Event(summary=Summary.FromString(b"".join(values))).SerializeToString()
        head = whole[: len(whole) - sum(map(len, values))]
        pieces = [value[:-4] for value in values]
        self._format = struct.Struct("<" + "".join(f"{len(piece)}sf" for piece in [head + pieces[0], *pieces[1:]]))
        self._pieces: list[Any] = [None] * (2 * len(pieces))
        self._pieces[::2] = [head + pieces[0], *pieces[1:]]

    def __call__(self, numbers: Iterable[float], step: int) -> bytes:
        """Returns a serialised event of now, or raises `OverflowError` where a number does not fit into 32 bits."""
        self._pieces[1::2] = numbers
        return self._event(wall_time=time.time(), step=step).SerializeToString() + self._format.pack(*self._pieces)
