"""What a search may try: ranges, optimizers, schedules, and the space that they make."""

from kopt.tuning.space.optimizers import OptimizerSpace
from kopt.tuning.space.ranges import Choice, Float, Int, Maybe, Range
from kopt.tuning.space.schedules import ScheduleSpace
from kopt.tuning.space.search_space import SearchSpace, Settings

__all__ = ["Choice", "Float", "Int", "Maybe", "OptimizerSpace", "Range", "ScheduleSpace", "SearchSpace", "Settings"]
