"""One row of text per value: what spreadsheets read, and what stays valid when new tags appear."""

import csv
import io
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from kopt.callbacks.sinks.appended_file import AppendedFile, file_path
from kopt.callbacks.sinks.sink import Sink

_HEADER = "step,time,tag,value\n"


class CSV(Sink):
    """Writes one row per value, in the columns `step,time,tag,value`.

    The long form, because tags may appear later (those of an epoch, those of a layer that is no longer frozen), and a
    column cannot. `time` is in seconds since 1970; values are written so that they read back exactly, and as `nan`,
    `inf`, `-inf` where they are not finite. Histograms, text and configuration are left out.

    What holds for a killed process, an existing file, a full disk and a removed directory is as with `JSONLines`.

    Args:
        path: Of the file. Give each run its own.

    Raises:
        ValueError: `path` is a directory, cannot be written, or is a file of another kind.

    Example:

    ```python
    model.fit(x, y, callbacks=[kopt.callbacks.Monitor([kopt.callbacks.CSV("logs/first.csv")])])
    table = pandas.read_csv("logs/first.csv").pivot_table("value", "step", "tag")
    table["gradients/global_norm"].dropna().plot()
    ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        checked = file_path(path, lambda first: _HEADER.encode().startswith(first), "CSV")
        self._file = AppendedFile(checked, _HEADER, _entries)

    def __repr__(self) -> str:
        return f"CSV({str(self._file.path)!r})"

    def open(self, config: Mapping[str, Any]) -> None:
        self._file.open()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = f"{time.time():.3f}"
        rows = [(step, now, tag, repr(float(value))) for tag, value in values.items() if self._file.is_new(tag, step)]
        if rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            self._file.write(text.getvalue())

    def close(self) -> None:
        self._file.close()


def _entries(line: bytes) -> tuple[int, Iterable[str]] | None:
    try:
        cells = next(csv.reader([line.decode(errors="replace")]), [])
    except csv.Error:
        return None
    if len(cells) != 4 or not cells[0].isdecimal():
        return None
    return int(cells[0]), [cells[2]]
