"""A search as one page that needs nothing else: curves, coordinates, importances, slices, and every trial."""

import html
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kopt.tuning import charts
from kopt.tuning.ended import Outcome
from kopt.tuning.front import Objectives
from kopt.tuning.importances import LEAST_TRIALS, importances
from kopt.tuning.stored import settings_of

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1000px; padding: 0 1em; color: #222; background: #fff; }
svg { max-width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #444; }
svg .axis { stroke: #999; } svg polyline { fill: none; } svg .best { stroke: #0b6e4f; stroke-width: 2; }
svg .trial { stroke: #1f4e8c; stroke-width: 1.5; } svg .bar { fill: #1f4e8c; }
svg .front { fill: #0b6e4f; } svg .completed { fill: #1f4e8c; fill-opacity: .7; } svg .pruned { fill: #fff; stroke: #c77700; }
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
    objectives = Objectives(objective)
    done = [row for row in rows if row["status"] == "completed"]
    counts = {status: sum(row["status"] == status for row in rows) for status in ("completed", "pruned", "failed")}
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p>{', '.join(f'{n} {status}' for status, n in counts.items())}.</p>"]
    if done:
        parts += _found(rows, done, objectives)
    parts += _section("Trials", _table(rows, tracebacks))
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"


def _found(rows: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]], objectives: Objectives) -> list[str]:
    """Returns what there is to see once a trial has run to its end."""
    front = objectives.front({row["trial"]: row for row in done})
    settings = [settings_of(row) for row in done]
    columns = {one.name: [row[one.name] for row in done] for one in objectives.all}
    parts = _best(done, objectives)
    if objectives.several:
        parts += _section(f"Pareto front: {len(front)} of {len(done)} trials", _planes(done, objectives))
    for one in objectives.all:
        parts += _section(_headed("Best so far", one, objectives), _history(rows, one))
    shares = _shares(done, front, objectives)
    parts += _section("Parallel coordinates", charts.parallel(settings, columns, shares))
    names = dict.fromkeys(key for setting in settings for key in setting)
    for one in objectives.all:
        values = columns[one.name]
        parts += _section(_headed("Importances", one, objectives), _importances(settings, values))
        slices = [charts.slice_of([setting.get(key) for setting in settings], values, key) for key in names]
        parts += _section(_headed("Slices", one, objectives), "".join(slices))
    return parts


def _headed(title: str, one: Any, objectives: Objectives) -> str:
    return f"{title}: {html.escape(one.name)}" if objectives.several else title


def _best(done: Sequence[Mapping[str, Any]], objectives: Objectives) -> list[str]:
    """Returns a line for the best trial in each objective."""
    found, parts = {row["trial"]: row for row in done}, []
    for name, key in objectives.best(found).items():
        row = found[key]
        chosen = ", ".join(f"{charts.text(key)} = {charts.text(value)}" for key, value in settings_of(row).items())
        parts.append(f"<p>Best: trial {charts.text(key)}, {charts.text(name)} {row[name]:.6g}; with {chosen}.</p>")
    return parts


def _history(rows: Sequence[Mapping[str, Any]], one: Any) -> str:
    scored = [(i, row) for i, row in enumerate(rows) if row["status"] in ("completed", "pruned")]
    return charts.history([(i, row[one.name], row["status"]) for i, row in scored], one.direction)


def _shares(done: Sequence[Mapping[str, Any]], front: Sequence[str], objectives: Objectives) -> list[float]:
    """Returns how dark each trial is: by its rank, or with several objectives whether it is on the front."""
    if objectives.several:
        return [1.0 if row["trial"] in front else 0.3 for row in done]
    name, is_min = objectives.lead.name, objectives.lead.direction == "min"
    ranks = sorted(range(len(done)), key=lambda i: done[i][name], reverse=is_min)
    return [(ranks.index(i) + 1) / len(done) for i in range(len(done))]


def _planes(done: Sequence[Mapping[str, Any]], objectives: Objectives) -> str:
    """Returns a picture of each pair of objectives."""
    keys, pictures = [row["trial"] for row in done], []
    told = [", ".join([f"trial {row['trial']}"] + [f"{n} {row[n]:.6g}" for n in objectives.names]) for row in done]
    for right, up in itertools.combinations(objectives.names, 2):
        points = [(row[right], row[up], text) for row, text in zip(done, told, strict=True)]
        front = [keys.index(key) for key in objectives.front({row["trial"]: row for row in done}, right)]
        pictures.append(charts.plane(points, front, (right, up), stairs=len(objectives.all) == 2))
    return "".join(pictures)


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
