"""`kopt status`: how far a search is."""

import argparse
import datetime
import time
from collections.abc import Mapping
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from kopt.cli import shown
from kopt.tuning import stored
from kopt.tuning.duration import duration
from kopt.tuning.stored import StoredSearch, settings_of


def add_to(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "status", help="how far a search is", description="Shows how far a search is, and the best trial so far."
    )
    shown.add_directory(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--watch", action="store_true", help="goes on showing it, until the search is done or Ctrl-C")
    every = shown.at_least(0.1, whole=False)
    parser.add_argument("--every", type=every, default=2.0, metavar="SECONDS", help="with --watch (default 2)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the status, once or again and again."""
    found = described(stored.read(arguments.directory))
    if arguments.json:
        shown.write_json(found)
    elif not arguments.watch:
        shown.console().print(_picture(found))
    else:
        with Live(_picture(found), console=shown.console(), auto_refresh=False) as live:
            while not found["done"]:
                time.sleep(arguments.every)
                found = described(stored.read(arguments.directory))
                live.update(_picture(found), refresh=True)
    return 0


def described(search: StoredSearch) -> dict[str, Any]:
    """Returns the status as JSON shows it.

    Args:
        search: As it is at this moment.
    """
    rows, best = search.rows(), search.ranked()
    names = ("completed", "pruned", "failed", "running")
    counts = {name: sum(row["status"] == name for row in rows) for name in names}
    ended = [row for row in rows if row["status"] != "running"]
    total, epochs = search.limits.get("max_trials"), sum(row.get("epochs", 0) for row in ended)
    mean = sum(row["seconds"] for row in ended) / len(ended) if ended else None
    left = _left(search.limits, len(ended), epochs)
    at_once = max(1, counts["running"])
    return {
        "project": search.name,
        "directory": str(search.directory),
        "objectives": [{"name": one.name, "direction": one.direction} for one in search.objectives],
        "trials": counts,
        "max_trials": total,
        "running": [row["trial"] for row in rows if row["status"] == "running"],
        "best": None if not best else _best(search, best[0]),
        "front": None if len(search.objectives) == 1 else [row["trial"] for row in best],
        "epochs": epochs,
        "seconds_per_trial": mean,
        "seconds_left": None if mean is None or left is None else mean * left / at_once,
        "done": left is not None and left == 0,
        "changed": None if search.changed is None else _moment(search.changed).isoformat(),
        "seconds_since_change": None if search.changed is None else max(0.0, time.time() - search.changed),
        "unreadable": [str(path) for path in search.unreadable],
    }


def _best(search: StoredSearch, row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {one.name: row[one.name] for one in search.objectives}
    return {"trial": row["trial"], "metrics": metrics, "hyperparameters": settings_of(row)}


def _left(limits: Mapping[str, Any], ended: int, epochs: int) -> float | None:
    """Returns how many trials are left, None if nobody knows; a limit of epochs counts in trials of the mean length."""
    found = []
    if limits.get("max_trials") is not None:
        found.append(max(0.0, limits["max_trials"] - ended))
    if limits.get("max_epochs_total") is not None and (epochs or not found):
        more = max(0, limits["max_epochs_total"] - epochs)
        found.append(more * ended / epochs if epochs else float(more))
    return min(found, default=None)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds).astimezone().replace(microsecond=0)


def _picture(found: Mapping[str, Any]) -> Table:
    """Returns the status as a person reads it."""
    lines = Table.grid(padding=(0, 2))
    objectives = ", ".join(f"{one['name']} ({one['direction']})" for one in found["objectives"])
    counts = ", ".join(f"{count} {name}" for name, count in found["trials"].items() if count)
    total = "" if found["max_trials"] is None else f" of {found['max_trials']}"
    ended = sum(count for name, count in found["trials"].items() if name != "running")
    told = [("search", f"{found['project']} in {found['directory']}"), ("objective", objectives)]
    told.append(("trials", f"{ended}{total} ended" + (f": {counts}" if counts else "")))
    if found["running"]:
        told.append(("running", " ".join(found["running"])))
    if found["best"] is not None:
        values = ", ".join(f"{name} {shown.number(value)}" for name, value in found["best"]["metrics"].items())
        several = "" if found["front"] is None else f", the first of {len(found['front'])} that none beats"
        told.append(("best", f"{values} in trial {found['best']['trial']}{several}, with"))
        told += [("", f"{name} = {shown.number(value)}") for name, value in found["best"]["hyperparameters"].items()]
    told.append(("epochs", str(found["epochs"])))
    if found["seconds_per_trial"] is not None:
        left = found["seconds_left"]
        told.append(("time", f"{found['seconds_per_trial']:.3g} s per trial" + _told(left)))
    if found["changed"] is not None:
        told.append(("changed", f"{found['changed']}, {duration(found['seconds_since_change'])} ago"))
    if found["unreadable"]:
        told.append(("unreadable", ", ".join(found["unreadable"])))
    for name, text in told:
        lines.add_row(Text(name, style="bold"), Text(text, overflow="fold"))
    return lines


def _told(left: float | None) -> str:
    return "" if left is None else f", about {duration(left)} left" if left else ", none left"
