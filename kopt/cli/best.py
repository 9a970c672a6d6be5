"""`kopt best`: the hyperparameters of the best trials of a search."""

import argparse
from typing import Any

from kopt.cli import shown
from kopt.tuning import stored
from kopt.tuning.stored import settings_of


def add_to(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "best", help="the best hyperparameters of a search", description="Shows the best hyperparameters of a search."
    )
    shown.add_directory(parser)
    parser.add_argument("-n", type=shown.at_least(1), default=1, metavar="N", help="how many trials (default 1)")
    parser.add_argument(
        "--by", metavar="OBJECTIVE", help="of several, the one to sort their front by (default: the first)"
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of trials, with all digits")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows them; 1 if no trial has run to its end yet."""
    search = stored.read(arguments.directory)
    rows = search.ranked(arguments.by)[: arguments.n]
    if arguments.json:
        shown.write_json([_described(row) for row in rows])
    elif rows:
        names = list(dict.fromkeys(name for row in rows for name in settings_of(row)))
        heads = [["trial", *(row["trial"] for row in rows)]]
        heads += [[one.name, *(row[one.name] for row in rows)] for one in search.objectives]
        lines = [[name, *(settings_of(row).get(name) for row in rows)] for name in names]
        shown.console().print(shown.table(heads[0], [*heads[1:], *lines]))
    if not rows:
        shown.complain(f"No trial of {arguments.directory} has run to its end yet.")
    return 0 if rows else 1


def _described(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a trial as JSON shows it."""
    own = {key: row.get(key) for key in ("trial", "epochs", "seconds")}
    metrics = {
        key: value
        for key, value in row.items()
        if key not in (*own, "status", "error", "pareto") and not key.startswith("hp/")
    }  # fmt: skip
    return {**own, "metrics": metrics, "hyperparameters": settings_of(row)}
