"""One JSON object per line and moment: what `pandas.read_json(path, lines=True)` and every language read."""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kopt.callbacks.sinks.appended_file import AppendedFile, file_path
from kopt.callbacks.sinks.sink import Sink

_OWN = ("step", "time")


class JSONLines(Sink):
    """Writes one JSON object per line: `{"step": 100, "time": 1767225600.5, "loss/total": 0.25, ...}`.

    `time` is in seconds since 1970. A value that is NaN or infinite is `null`, because JSON has no word for it; the tag
    `gradients/nonfinite_fraction` tells such a step. A histogram has a line of its own, with
    `{"edges": [...], "counts": [...]}` under its tag. Text and configuration are left out.

    Each line is with the operating system before the next step begins: a killed process loses none. An existing file is
    appended to, per tag from the step after its last one; a last line that was torn is cut off. When the disk is full
    the lines of that time are missing, and the file stays readable. A file or directory that is removed during training
    is made anew.

    Args:
        path: Of the file. Give each run its own.

    Raises:
        ValueError: `path` is a directory, cannot be written, or is a file of another kind.

    Example:

    ```python
    model.fit(x, y, callbacks=[kopt.callbacks.Monitor([kopt.callbacks.JSONLines("logs/first.jsonl")])])
    table = pandas.read_json("logs/first.jsonl", lines=True).groupby("step").first()
    table["gradients/global_norm"].dropna().plot()
    ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        checked = file_path(path, lambda first: first.startswith(b'{"step"'), "JSONLines")
        self._file = AppendedFile(checked, "", _entries)

    def __repr__(self) -> str:
        return f"JSONLines({str(self._file.path)!r})"

    def open(self, config: Mapping[str, Any]) -> None:
        self._file.open()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._write({tag: float(value) if math.isfinite(value) else None for tag, value in values.items()}, step)

    def histogram(self, tag: str, edges: Sequence[float], counts: Sequence[float], step: int) -> None:
        self._write({tag: {"edges": [*map(float, edges)], "counts": [*map(float, counts)]}}, step)

    def close(self) -> None:
        self._file.close()

    def _write(self, values: Mapping[str, Any], step: int) -> None:
        new = {tag: value for tag, value in values.items() if self._file.is_new(tag, step)}
        if new:
            line = {"step": step, "time": round(time.time(), 3), **new}
            self._file.write(json.dumps(line, allow_nan=False) + "\n")


def _entries(line: bytes) -> tuple[int, Iterable[str]] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("step"), int):
        return None
    return found["step"], [tag for tag in found if tag not in _OWN]
