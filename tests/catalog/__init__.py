"""The tables that tests are crossed over: a new optimizer or schedule adds rows here, not tests elsewhere.

A family is one module with `CASES`, `TRANSFORMS`, and `RULES` and `GOOD` values for arguments that no other family has.
An argument that means something else in one class has its rule under `"Class.argument"`.
"""

from typing import Any

from catalog import (
    accumulators,
    adaptive,
    cycles,
    first,
    norms,
    orthogonal,
    parameter_free,
    phases,
    preconditioned,
    schedule_free,
    schedules,
    slopes,
    wrappers,
)
from catalog.case import SHAPES, Case, ScheduleCase, TransformCase

FAMILIES: list[Any] = [
    first,
    adaptive,
    accumulators,
    norms,
    parameter_free,
    orthogonal,
    preconditioned,
    schedule_free,
    wrappers,
]
SCHEDULE_FAMILIES: list[Any] = [schedules, slopes, phases, cycles]
CASES: list[Case] = [case for family in FAMILIES for case in family.CASES]
TRANSFORMS: list[TransformCase] = [case for family in FAMILIES for case in family.TRANSFORMS]
SCHEDULE_CASES: list[ScheduleCase] = [case for family in SCHEDULE_FAMILIES for case in family.CASES]
RULES = {name: rule for family in [*FAMILIES, schedules] for name, rule in family.RULES.items()}
GOOD = {name: value for family in [*FAMILIES, schedules] for name, value in family.GOOD.items()}

__all__ = ["CASES", "GOOD", "RULES", "SCHEDULE_CASES", "SHAPES", "TRANSFORMS", "Case", "ScheduleCase", "TransformCase"]
