"""Methods that use the norm of a variable, or keep its second moment in factors."""

from typing import Any

from catalog.case import Case, TransformCase

CASES: list[Case] = []
TRANSFORMS: list[TransformCase] = []
RULES: dict[str, Any] = {}
GOOD: dict[str, Any] = {}
