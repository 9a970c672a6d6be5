"""A search as one page that needs nothing else: curves, coordinates, importances, slices, and every trial."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kopt.tuning import charts
from kopt.tuning.ended import Outcome
from kopt.tuning.importances import LEAST_TRIALS, importances
from kopt.tuning.stored import settings_of

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1000px; padding: 0 1em; color: #222; background: #fff; }
svg { max-width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #444; }
svg .axis { stroke: #999; } svg polyline { fill: none; } svg .best { stroke: #0b6e4f; stroke-width: 2; }
svg .trial { stroke: #1f4e8c; stroke-width: 1.5; } svg .bar { fill: #1f4e8c; }
svg .completed { fill: #1f4e8c; fill-opacity: .7; } svg .pruned { fill: #fff; stroke: #c77700; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 3px 9px; text-align: left; border-bottom: 1px solid #ddd; }
th { cursor: pointer; } .wide { overflow-x: auto; } pre { white-space: pre-wrap; font-size: 12px; }
"""  # noqa: E501
_SCRIPT = """
document.querySelectorAll("#trials th").forEach((head, column) => head.addEventListener("click", () => {
  const body = document.querySelector("#trials tbody"), down = head.dataset.down !== "1";
  const key = row => row.cells[column].dataset.value || row.cells[column].textContent;
  const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  head.dataset.down = down ? "1" : "0";
  [...body.rows].sort((a, b) => (down ? 1 : -1) * compare(key(a), key(b))).forEach(row => body.append(row));
}));
"""


def write(
    path: str | os.PathLike[str],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    objective: Any,
    outcomes: Mapping[str, Outcome],
) -> Path:
    """Writes the page about a search, and returns where it is.

    Args:
        path: Of the file, in a directory that is there.
        name: Of the project.
        rows: As `Tuner.rows` returns them.
        objective: The oracle's.
        outcomes: By trial.
    """
    traces = {key: found.traceback for key, found in outcomes.items() if found.traceback}
    place = Path(path)
    place.write_text(page(f"Search {name!r}", rows, objective, traces), encoding="utf-8")
    return place


def page(title: str, rows: Sequence[Mapping[str, Any]], objective: Any, tracebacks: Mapping[str, str]) -> str:
    """Returns a report in HTML, with its style, its pictures and its script inside.

    Args:
        title: Name of the search.
        rows: As `Tuner.rows` returns them.
        objective: The oracle's.
        tracebacks: Of the failed trials, by trial.
    """
    name, direction = objective.name, objective.direction
    done = [row for row in rows if row["status"] == "completed"]
    values = [row[name] for row in done]
    settings = [settings_of(row) for row in done]
    counts = {status: sum(row["status"] == status for row in rows) for status in ("completed", "pruned", "failed")}
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p>{', '.join(f'{n} {status}' for status, n in counts.items())}.</p>"]
    if done:
        best = (min if direction == "min" else max)(done, key=lambda row: row[name])
        chosen = ", ".join(f"{charts.text(key)} = {charts.text(value)}" for key, value in settings_of(best).items())
        parts.append(
            f"<p>Best: trial {charts.text(best['trial'])}, {charts.text(name)} {best[name]:.6g}; with {chosen}.</p>"
        )
        scored = [(i, row) for i, row in enumerate(rows) if row["status"] in ("completed", "pruned")]
        points = [(i, row[name], row["status"]) for i, row in scored]
        parts += _section("Best so far", charts.history(points, direction))
        parts += _section("Parallel coordinates", charts.parallel(settings, values, name, direction))
        parts += _section("Importances", _importances(settings, values))
        names = dict.fromkeys(key for setting in settings for key in setting)
        slices = [charts.slice_of([setting.get(key) for setting in settings], values, key) for key in names]
        parts += _section("Slices", "".join(slices))
    parts += _section("Trials", _table(rows, tracebacks))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"


def _section(title: str, content: str) -> list[str]:
    return [f'<h2>{title}</h2><div class="wide">{content}</div>']


def _importances(settings: Sequence[Mapping[str, Any]], values: Sequence[float]) -> str:
    if len(values) < LEAST_TRIALS:
        return f"<p>They need {LEAST_TRIALS} trials that have run to their end.</p>"
    return charts.bars(importances(settings, values))


def _table(rows: Sequence[Mapping[str, Any]], tracebacks: Mapping[str, str]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [key for key in columns if key != "error"] + ["error"]
    lines = []
    for row in rows:
        cells = [_cell(row.get(key)) for key in columns[:-1]]
        lines.append(f"<tr>{''.join(cells)}<td>{_error(row, tracebacks)}</td></tr>")
    heads = "".join(f"<th>{html.escape(key)}</th>" for key in columns)
    return f'<table id="trials"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    return f'<td data-value="{html.escape(str(value))}">{charts.text(value)}</td>'


def _error(row: Mapping[str, Any], tracebacks: Mapping[str, str]) -> str:
    error, trace = html.escape(row.get("error") or ""), tracebacks.get(row["trial"], "")
    return f"<details><summary>{error}</summary><pre>{html.escape(trace)}</pre></details>" if trace else error
