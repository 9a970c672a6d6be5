"""The objectives of a search, and which trials none beats; what reads a search without Keras needs it as well."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kopt._core import checks


class Objectives:
    """The objectives of a search, sorted by where their values come from.

    Attributes:
        all: In the order in which they were given.
        trained: Those that are metrics of the training.
        measured: Those that are measured of the model.
        lead: The first of `trained`, which says which epoch is the best one.
        names: Of all.

    Args:
        objective: An oracle's.

    Raises:
        ValueError: None of them is a metric of the training.
    """

    def __init__(self, objective: Any) -> None:
        self.all: list[Any] = list(getattr(objective, "objectives", None) or [objective])
        self.measured = [one for one in self.all if hasattr(one, "measure")]  # A `ModelObjective`.
        self.trained = [one for one in self.all if not hasattr(one, "measure")]
        self.names: list[str] = [one.name for one in self.all]
        if not self.trained:
            rule = "a list with at least one metric of the training"
            raise checks.fail("objective", rule, self.names, 'Such as ["val_loss", ...].')
        self.lead = self.trained[0]

    @property
    def several(self) -> bool:
        """Whether there is a front rather than a best trial."""
        return len(self.all) > 1

    def named(self, name: str | None) -> Any:
        """Returns the objective of this name, the leading one for None.

        Args:
            name: One of `names`, or None.
        """
        name = self.lead.name if name is None else checks.choice("by", name, self.names)
        return self.all[self.names.index(name)]

    def front(self, found: Mapping[str, Mapping[str, float]], by: str | None = None) -> list[str]:
        """Returns the trials that none beats: no other one is better in one objective and as good in the rest.

        Args:
            found: The metrics of the trials that count, by trial.
            by: By which objective they are sorted, best first; None for the leading one.
        """
        if not found:
            return []
        signs = np.array([-1.0 if one.direction == "max" else 1.0 for one in self.all])
        values = np.array([[metrics[name] for name in self.names] for metrics in found.values()]) * signs
        column = self.names.index(self.named(by).name)
        keys = list(found)
        front = [number for number, row in enumerate(values) if not _is_beaten(row, values)]
        return [keys[number] for number in sorted(front, key=lambda i: (values[i, column], *values[i], i))]

    def best(self, found: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
        """Returns which trial is the best in each objective, by the objective's name; nothing of no trials.

        Of equals it is the one that is best in the others.

        Args:
            found: The metrics of trials, by trial.
        """
        return {one.name: self.front(found, one.name)[0] for one in self.all} if found else {}


def _is_beaten(row: np.ndarray, values: np.ndarray) -> bool:
    return bool(((values <= row).all(axis=1) & (values < row).any(axis=1)).any())
