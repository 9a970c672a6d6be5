"""A space as a table: what is searched, in which range, and when it counts."""

from collections.abc import Sequence
from typing import Any

from kopt._core.tables import aligned

HEADINGS = ("name", "kind", "range", "scale", "default", "condition")
Row = tuple[str, ...]


def rows(hp: Any) -> list[Row]:
    """Returns one row per hyperparameter that was declared, in order.

    Args:
        hp: A `keras_tuner.HyperParameters`.
    """
    return [_row(entry, type(entry).__name__) for entry in hp.space]


def plain(table: Sequence[Row]) -> str:
    """Returns the rows as aligned text, with headings."""
    return "\n".join(aligned(HEADINGS, table))


def rich_table(table: Sequence[Row]) -> Any:
    """Returns the rows as a `rich.table.Table`."""
    from rich.table import Table
    from rich.text import Text

    made = Table(*HEADINGS)
    for row in table:
        made.add_row(*map(Text, row))
    return made


def _row(entry: Any, kind: str) -> Row:
    condition = " and ".join(_condition(parent) for parent in entry.conditions)
    if kind == "Fixed":
        return entry.name, "fixed", _text(entry.value), "", _text(entry.value), condition
    if kind == "Boolean":
        return entry.name, "switch", "on, off", "", "on" if entry.default else "off", condition
    if kind == "Choice":
        scale = "ordered" if entry.ordered and len(entry.values) > 1 else ""
        return entry.name, "choice", ", ".join(map(_text, entry.values)), scale, _text(entry.default), condition
    scale = entry.sampling
    if entry.step is not None and (kind == "Float" or entry.step != 1 or scale != "linear"):
        scale += f", step {'' if scale == 'linear' else 'x'}{_text(entry.step)}"
    ends = f"{_text(entry.min_value)} to {_text(entry.max_value)}"
    return entry.name, kind.lower(), ends, scale, _text(entry.default), condition


def _condition(parent: Any) -> str:
    values = list(map(_text, parent.values))
    return f"{parent.name} = {values[0]}" if len(values) == 1 else f"{parent.name} in {', '.join(values)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
