"""Signs, accumulated squares, and methods for sparse gradients."""

from typing import Any

from catalog.case import Case, TransformCase

CASES: list[Case] = []
TRANSFORMS: list[TransformCase] = []
RULES: dict[str, Any] = {}
GOOD: dict[str, Any] = {}
