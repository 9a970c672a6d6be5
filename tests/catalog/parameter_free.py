"""Methods that estimate their learning rate."""

from typing import Any

from catalog.case import Case, TransformCase

CASES: list[Case] = []
TRANSFORMS: list[TransformCase] = []
RULES: dict[str, Any] = {}
GOOD: dict[str, Any] = {}
