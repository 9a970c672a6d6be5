"""Judges kept runs by the rules as they are now: what was told and when, and tables of how often that was right."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diagnosis_data import Kind

from kopt.diagnosis import Statistics, diagnose
from kopt.diagnosis.order import ORDER

Row = dict[str, Any]


def judged(row: Row, kind: Kind, place: Path, *, arrays: bool) -> Row:
    """Returns a run with what its user was told: `alarms` (warnings and errors) and `remarks`, in the order of telling.

    All that was told at any time counts, as the callback tells it: before the first step, after each epoch, at the end.

    Args:
        row: The run.
        kind: What kind of run it is.
        place: Where its statistics are.
        arrays: Whether the doctor had the arrays.
    """
    stats = Statistics.load(place / row["file"])
    if not arrays:
        stats.data = {}
    told: dict[tuple[str, str], str] = {}
    for stage in stats.stages():
        for finding in diagnose(stage):
            told.setdefault((finding.code, finding.where), finding.severity)
    alarms = list(dict.fromkeys(code for (code, _), severity in told.items() if severity != "info"))
    remarks = [code for (code, _), severity in told.items() if severity == "info"]
    return {**row, "alarms": alarms, "remarks": remarks, "causes": kind.causes}


def tables(rows: list[Row]) -> str:
    """Returns how often the cause was named, false alarms, and each code's share in both."""
    lines = [
        "| kinds | faulty runs | named first | among | silent | alarms each | healthy runs | false alarms | remarks |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for part in dict.fromkeys(row["part"] for row in rows):
        mine = [row for row in rows if row["part"] == part]
        lines.append(f"| {part} | {_faulty([r for r in mine if r['causes']])} | {_healthy(mine)} |")
    lines += [
        "",
        "| code | wanted | named first | told beside or instead | told of healthy runs |",
        "|---|---|---|---|---|",
    ]
    first = Counter(row["alarms"][0] for row in rows if row["causes"] and row["alarms"][:1] and _is_right(row))
    wanted = Counter(row["causes"][0] for row in rows if row["causes"])
    wrong = Counter(code for row in rows if row["causes"] for code in row["alarms"] if code not in row["causes"])
    false = Counter(code for row in rows if not row["causes"] for code in row["alarms"])
    for code in ORDER:
        if wanted[code] + first[code] + wrong[code] + false[code]:
            lines.append(f"| `{code}` | {wanted[code]} | {first[code]} | {wrong[code]} | {false[code]} |")
    lines += ["", *_missed(rows)]
    return "\n".join(lines)


def _is_right(row: Row) -> bool:
    return bool(row["alarms"]) and row["alarms"][0] in row["causes"]


def _faulty(rows: list[Row]) -> str:
    if not rows:
        return "0 | | | | "
    among = sum(bool(set(row["alarms"]) & set(row["causes"])) for row in rows)
    silent = sum(not row["alarms"] for row in rows)
    each = sum(len(row["alarms"]) for row in rows) / len(rows)
    return f"{len(rows)} | {_share(map(_is_right, rows))} | {among / len(rows):.0%} | {silent} | {each:.2f}"


def _healthy(rows: list[Row]) -> str:
    rows = [row for row in rows if not row["causes"]]
    remarks = sum(len(row["remarks"]) for row in rows)
    return f"{len(rows)} | {_share(bool(row['alarms']) for row in rows)} | {remarks}"


def _share(hits: Iterable[bool]) -> str:
    found = list(hits)
    return f"{sum(found)} ({sum(found) / len(found):.0%})" if found else ""


def _missed(rows: list[Row]) -> list[str]:
    found = [row for row in rows if (row["causes"] and not _is_right(row)) or (not row["causes"] and row["alarms"])]
    return [
        f"* {row['part']}: `{row['kind']}`, seed {row['seed']}: wanted {' or '.join(row['causes']) or 'nothing'}, "
        f"told {', '.join(row['alarms']) or 'nothing'}"
        for row in found
    ]
