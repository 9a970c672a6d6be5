"""Where event files lie: in a directory of this machine, or behind an address that fsspec knows."""

import contextlib
import io
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from kopt._core import checks

UPLOAD_SECONDS = 30.0
"""From one upload of a remote event file to the next."""


def is_remote(place: str) -> bool:
    """Returns whether a directory or file is behind an address, as `memory://logs` is."""
    return "://" in place


def check_directory(log_dir: str) -> None:
    """Raises if nothing can be written at `log_dir`; creates nothing."""
    if is_remote(log_dir):
        _filesystem(log_dir)
        return
    path = Path(log_dir).absolute()
    existing = next(parent for parent in [path, *path.parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        problem = "not a directory" if not existing.is_dir() else "not writable"
        raise ValueError(
            f"`log_dir` must be a directory that can be written. Received: log_dir={log_dir!r}, "
            f"but {str(existing)!r} is {problem}."
        )


def event_files(directory: str) -> list[tuple[str, int]]:
    """Returns the event files of one directory with their sizes, in the order in which TensorBoard reads them."""
    if is_remote(directory):
        files, root = _filesystem(directory)
        found = [(item["name"], item["size"]) for item in files.ls(root, detail=True)] if files.exists(root) else []
        inside = [(f"{directory}/{name.rsplit('/', 1)[-1]}", size) for name, size in found]
    else:
        inside = [(str(path), path.stat().st_size) for path in Path(directory).glob("*") if path.is_file()]
    return sorted((path, size) for path, size in inside if "tfevents" in path.rsplit("/", 1)[-1])


def opened(path: str) -> BinaryIO:
    """Opens a file for reading."""
    if is_remote(path):
        files, place = _filesystem(path)
        return files.open(place, "rb")
    return Path(path).open("rb")


def claimed(log_dir: str, name: str) -> str:
    """Returns a new directory below `log_dir` with a name that no other run has, and makes it.

    Its name is `<name>-<YYYYmmdd-HHMMSS>`, with a number behind it where that is taken.
    """
    stem = f"{log_dir.rstrip('/')}/{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while True:
        place = stem if number == 1 else f"{stem}-{number}"
        number += 1
        if is_remote(place):  # Stores of objects have no directories that two processes could not make at once.
            files, root = _filesystem(place)
            if not files.exists(root):
                files.makedirs(root, exist_ok=True)
                return place
            continue
        try:
            Path(place).mkdir(parents=True)
        except FileExistsError:
            continue
        return place


def created(directory: str, name: str) -> "_Local | _Uploaded":
    """Returns a new file to append to, in a directory that is made where it is missing."""
    if is_remote(directory):
        files, root = _filesystem(directory)
        files.makedirs(root, exist_ok=True)
        return _Uploaded(f"{directory}/{name}")
    Path(directory).mkdir(parents=True, exist_ok=True)
    return _Local(Path(directory, name))


def _filesystem(place: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError(
            f"`log_dir` with an address needs fsspec: pip install fsspec. Received: {place!r}."
        ) from error
    try:
        return url_to_fs(place)
    except ImportError as error:  # It names the package.
        raise ImportError(f"`log_dir` needs a package that is not installed: {error}. Received: {place!r}.") from error
    except ValueError as error:
        raise checks.fail("log_dir", f"a directory, or an address that fsspec knows ({error})", place) from error


class _Local:
    """A file that only grows, and by whole pieces: of one that could not be written nothing stays."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self._size = 0

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        os.close(self._descriptor)


class _Uploaded:
    """A file that is uploaded whole, now and then and at the end: few stores can append to one."""

    def __init__(self, path: str) -> None:
        self._files, self._path = _filesystem(path)
        self._content = io.BytesIO()
        self._uploaded_at = -UPLOAD_SECONDS

    def append(self, data: bytes) -> None:
        size = self._content.tell()
        self._content.write(data)
        if time.monotonic() - self._uploaded_at >= UPLOAD_SECONDS:
            try:
                self._upload()
            except OSError:
                self._content.truncate(size)
                self._content.seek(size)
                raise

    def close(self) -> None:
        self._upload()

    def _upload(self) -> None:
        self._files.pipe_file(self._path, self._content.getvalue())
        self._uploaded_at = time.monotonic()
