"""Warnings that point at the user's line, not at one of ours."""

import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])


def warn_user(message: str) -> None:
    """Warns at the innermost line of code outside this package."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith((PACKAGE, "<string>")):  # a data class's `__init__`
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(message, stacklevel=level)
