"""`kopt table`: all trials of a search, as `Tuner.results` has them."""

import argparse
import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from kopt.cli import shown
from kopt.tuning import stored

Row = dict[str, Any]


def add_to(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "table", help="all trials of a search", description="Shows all trials of a search, one a line."
    )
    shown.add_directory(parser)
    parser.add_argument("--sort", metavar="COLUMN", help="such as val_loss or hp/rate (default: by trial)")
    parser.add_argument("--reverse", action="store_true", help="the greatest first")
    parser.add_argument("--folds", action="store_true", help="a line for each training in place of one for each trial")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", metavar="FILE", help="writes the table there, with all digits; - is standard output")
    form.add_argument("--json", action="store_true", help="for programs: a list of trials, with all digits")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows or writes the table."""
    search = stored.read(arguments.directory)
    rows = search.rows(folds=arguments.folds)
    columns = _columns(rows)
    if arguments.sort is not None:
        rows = _sorted(rows, columns, arguments.sort, down=arguments.reverse)
    elif arguments.reverse:
        rows.reverse()
    if arguments.json:
        shown.write_json(rows)
    elif arguments.csv == "-":
        _write(sys.stdout, columns, rows)
    elif arguments.csv is not None:
        with Path(arguments.csv).open("w", encoding="utf-8", newline="") as file:
            _write(file, columns, rows)
    else:
        columns = [name for name in columns if name != "error" or any(row.get("error") for row in rows)]
        cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
        shown.console().print(shown.table(columns, cells))
    return 0


def _columns(rows: Iterable[Row]) -> list[str]:
    """Returns the columns of all rows, what goes wrong last."""
    names = dict.fromkeys(["trial", "status"]) | dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=lambda name: name == "error")


def _sorted(rows: list[Row], columns: list[str], name: str, *, down: bool) -> list[Row]:
    """Returns the rows by one column, numbers before texts, those that have nothing there last."""
    if name not in columns and f"hp/{name}" in columns:
        name = f"hp/{name}"
    if name not in columns:
        raise ValueError(f"`--sort` must be one of {', '.join(columns)}. Received: {name}.")
    there = [row for row in rows if row.get(name) is not None]
    numbers = [row for row in there if isinstance(row[name], int | float)]
    texts = [row for row in there if not isinstance(row[name], int | float)]
    numbers.sort(key=lambda row: row[name], reverse=down)
    texts.sort(key=lambda row: str(row[name]), reverse=down)
    return [*numbers, *texts, *(row for row in rows if row.get(name) is None)]


def _cell(name: str, value: Any) -> Any:
    return value.splitlines()[0] if name == "error" and value else value


def _write(file: TextIO, columns: list[str], rows: Iterable[Row]) -> None:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
