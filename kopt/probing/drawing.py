"""Figures of what was found, drawn without a window."""

from pathlib import Path
from typing import Any


def new_figure(width: float = 7.0, height: float = 4.0) -> Any:
    """Returns an empty `matplotlib.figure.Figure` of a size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('The picture needs matplotlib: pip install "keras-kopt[recipes]".') from error
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def saved(figure: Any, path: str | Path) -> Path:
    """Writes a figure to a file, whose directory is made if it is missing; returns the file's path."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place)
    return place
