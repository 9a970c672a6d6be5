"""A text file that only grows: whole lines, none twice, and none torn by a process that was killed."""

import errno
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from kopt._core import checks
from kopt._core.warn import warn_user


def file_path(value: str | os.PathLike[str], is_ours: Callable[[bytes], bool], writer: str) -> Path:
    """Returns the path of a file that can be written or appended to; creates nothing.

    Args:
        value: The user's argument `path`.
        is_ours: Tells from the first line of a file whether it is of the right kind.
        writer: What to call the right kind.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "://" in str(value):
        raise checks.fail("path", "the path of a local file", value)
    path = Path(value).absolute()
    if path.is_dir():
        raise checks.fail("path", "the path of a file", value, "It is a directory: add a file's name.")
    existing = next(place for place in [path, *path.parents] if place.exists())
    below = existing != path
    if below and not existing.is_dir():
        raise checks.fail("path", "a file that can be written", value, f"{str(existing)!r} is not a directory.")
    if not os.access(existing, os.W_OK | (os.X_OK if below else 0)):
        raise checks.fail("path", "a file that can be written", value, f"{str(existing)!r} is not writable.")
    if not below:
        with path.open("rb") as file:
            first = file.readline()
        if first and not is_ours(first):
            raise checks.fail(
                "path", f"a new file, or one that `{writer}` wrote", value, f"It begins with {first[:40]!r}."
            )
    return path


class AppendedFile:
    """Appends lines, each handed to the operating system before `write` returns, so that only a power cut loses them.

    Args:
        path: Of the file; directories on the way are made.
        header: The first line of a new file.
        entries: Returns step and tags of a line, or None for a line that has none.
    """

    def __init__(self, path: Path, header: str, entries: Callable[[bytes], tuple[int, Iterable[str]] | None]) -> None:
        self.path = path
        self._header = header
        self._entries = entries
        self._file: io.FileIO | None = None
        self._size = 0
        self._is_torn = False
        self._last_steps: dict[str, int] = {}
        self._has_warned = False

    def open(self) -> None:
        """Looks through what is there, cuts off a torn last line, and makes the file ready to grow."""
        self.close()
        self._has_warned = False
        self._last_steps, self._size = {}, 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = io.FileIO(self.path, "ab")
        try:
            with self.path.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        self._size += len(line)
                        self._note(line)
            file.truncate(self._size)
        except OSError:
            file.close()
            raise
        self._file, self._is_torn = file, False

    def close(self) -> None:
        """Closes the file; `open` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_new(self, tag: str, step: int) -> bool:
        """Returns whether the file had no value of the tag at this step or a later one when it was opened.

        The first time that it had, this warns: either the run goes on from an older checkpoint, or a new run was given
        an old run's path.
        """
        last = self._last_steps.get(tag, -1)
        if step > last:
            return True
        if not self._has_warned:
            self._has_warned = True
            warn_user(
                f"{str(self.path)!r} already has `{tag}` up to step {last}. What it has is not written again: values "
                f"from step {step} on are left out until the run is past that. A new run needs a path of its own."
            )
        return False

    def write(self, lines: str) -> None:
        """Appends whole lines. After an `OSError` nothing of them stays in the file, and the next call may succeed."""
        if self._file is None:
            self.open()
        assert self._file is not None
        if not os.fstat(self._file.fileno()).st_nlink:
            self.close()
            raise FileNotFoundError(errno.ENOENT, "It was removed while it was written", str(self.path))
        if self._is_torn:
            self._file.truncate(self._size)
        data = (lines if self._size else self._header + lines).encode()
        left = memoryview(data)
        self._is_torn = True
        while left:
            left = left[self._file.write(left) :]
        self._is_torn = False
        self._size += len(data)

    def _note(self, line: bytes) -> None:
        found = self._entries(line)
        if found is not None:
            step, tags = found
            for tag in tags:
                self._last_steps[tag] = max(step, self._last_steps.get(tag, step))
