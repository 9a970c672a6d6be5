"""`kopt report`: the page about a search, as `Tuner.report` writes it."""

import argparse
from pathlib import Path
from typing import Any

from kopt.cli import shown
from kopt.tuning import stored


def add_to(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report",
        help="one page about a search, in HTML",
        description="Writes one page in HTML that needs nothing else: curves, importances, slices, every trial.",
    )
    shown.add_directory(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the page, and says where it is."""
    from kopt.tuning import report  # Fits a forest: takes longer to import than the other commands to run.

    search = stored.read(arguments.directory)
    path = report.write(arguments.output, search.name, search.rows(), search.objective, search.outcomes)
    shown.console().print(str(path))
    return 0
