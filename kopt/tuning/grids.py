"""What is said of a grid that a search will not get through."""

import itertools
import logging

from kopt.tuning.mapping import SpaceMap

_MOST = 10_000  # Cells that are counted: a grid may have billions.
_log = logging.getLogger(__name__)


def tell_cut_grid(space: SpaceMap, trials: int) -> None:
    """Writes a warning to the log if a grid has more cells than there will be trials.

    Args:
        space: The space.
        trials: At most so many.
    """
    most = max(_MOST, trials)
    cells = list(itertools.islice(space.grid(), most + 1))
    if len(cells) <= trials:
        return
    values: dict[str, set[object]] = {}
    for cell in cells[:trials]:
        for key, value in cell.items():
            values.setdefault(key, set()).add(value)
    own = {item.key: item for item in space.items}
    short = {own[key].name: len(seen) for key, seen in values.items() if len(seen) < len(own[key].grid())}
    stuck = [name for name, count in short.items() if count == 1]
    told = f"{next(iter(short))} will not get all values" if short else "some combinations will be left"
    told = f"{', '.join(stuck)} will keep the first value" if stuck else told
    count = len(cells) if len(cells) <= most else f"more than {most}"
    _log.warning(
        "The grid has %s cells, and `max_trials` is %d. It is tried in order, the last hyperparameter changes first: "
        '%s. Raise `max_trials`, give fewer values, or take sampler="auto" or "random", which try values of all.',
        count, trials, told,
    )  # fmt: skip
