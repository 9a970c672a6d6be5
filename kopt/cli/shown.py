"""How the commands write: tables for people, JSON for programs, complaints on standard error."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000


def console() -> Console:
    """Returns what writes to standard output: as wide as the terminal, or as the content if there is none."""
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def complain(message: str) -> None:
    """Writes a line to standard error."""
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"kopt: {message}")


def number(value: Any) -> str:
    """Returns a value as a person wants to read it."""
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Returns a table; cells that do not fit are folded, not cut.

    Args:
        columns: Their heads.
        rows: Values of any kind.
    """
    found = Table()
    for name in columns:
        found.add_column(Text(name), overflow="fold")
    for row in rows:
        found.add_row(*(Text(number(value)) for value in row))
    return found


def write_json(content: Any) -> None:
    """Writes JSON to standard output, in which null stands for what is not finite."""
    sys.stdout.write(json.dumps(_finite(content), indent=2, default=str) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that all commands share which look at a search."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="of the search: <directory>/<project_name>")


def at_least(least: float, *, whole: bool = True) -> Any:
    """Returns what reads a number from the command line.

    Args:
        least: The least that it may be.
        whole: Whether it is an integer.
    """

    def read(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            rule = f"{'an integer' if whole else 'a number'} >= {least:g}"
            raise argparse.ArgumentTypeError(f"must be {rule}. Received: {text}.")
        return value

    return read
