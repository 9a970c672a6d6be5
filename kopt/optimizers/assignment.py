"""Which chain each variable gets: groups resolved once, kept in the config, independent of paths after loading."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from kopt._core import checks
from kopt.optimizers.group import Group, path_of, resolve
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, Transform


class Row(TypedDict):
    """What was decided for one variable."""

    path: str
    shape: list[int]
    group: int | None
    decays: bool


@dataclass
class Assignment:
    """The parts of an optimizer's chains, and who gets which.

    Attributes:
        recipe: The chain of the variables without a group of their own chain.
        groups: In the order in which they are tried.
        before: In front of every chain.
        after: Behind every chain.
        clip: The clipping keywords as transforms.
        weight_decay: Of the variables whose group has none.
        undecayed: Regular expressions: variables whose path one of them is found in have no weight decay.
        rows: The decisions, one per variable; None before they are made.
    """

    recipe: tuple[Transform, ...]
    groups: tuple[Group, ...]
    before: tuple[Transform, ...]
    after: tuple[Transform, ...]
    clip: tuple[Transform, ...]
    weight_decay: float | None
    undecayed: list[str] = field(default_factory=list)
    rows: list[Row] | None = None

    def resolve(self, variables: Sequence[Any]) -> None:
        """Decides for each variable, unless a saved decision for the same shapes in the same order is there.

        Paths are not compared: Keras renames them on loading (`sequential/enc/kernel` comes back as `enc/kernel`).
        """
        shapes = [list(variable.shape) for variable in variables]
        if self.rows is not None and [row["shape"] for row in self.rows] == shapes:
            return
        numbers = resolve(self.groups, variables)
        self.rows = [
            Row(path=path_of(v), shape=shape, group=number, decays=not self._is_undecayed(v))
            for v, shape, number in zip(variables, shapes, numbers, strict=True)
        ]

    def chains(self) -> dict[int, list[Transform]]:
        """Returns the chain of each variable that is trained, by index."""
        decays: dict[float, AddDecayedWeights] = {}
        chains = {}
        for i, row in enumerate(self.rows or []):
            group = None if row["group"] is None else self.groups[row["group"]]
            if group is not None and group.frozen:
                continue
            decay = self.weight_decay if group is None or group.weight_decay is None else group.weight_decay
            decay = (decay or 0.0) if row["decays"] else 0.0
            chain = self._chain(self.recipe if group is None or group.transforms is None else group.transforms)
            chains[i] = [
                decays.setdefault(decay, AddDecayedWeights(decay)) if _is_open_decay(transform) else transform
                for transform in chain
                if decay or not _is_open_decay(transform)
            ]
        return chains

    def factors(self) -> list[float]:
        """Returns the factor on the learning rate of each variable."""
        return [1.0 if row["group"] is None else self.groups[row["group"]].learning_rate for row in self.rows or []]

    def _chain(self, recipe: Sequence[Transform]) -> list[Transform]:
        middle = list(recipe)
        if not any(isinstance(transform, ScaleByLearningRate) for transform in middle):
            if not any(isinstance(transform, AddDecayedWeights) for transform in middle):
                middle.append(self._decay)
            middle.append(self._rate)
        ends = [i for i, t in enumerate(middle) if isinstance(t, AddDecayedWeights | ScaleByLearningRate)]
        on_direction = [transform for transform in self.after if transform.acts_on == "direction"]
        on_step = [transform for transform in self.after if transform.acts_on == "step"]
        return [*self.clip, *self.before, *middle[: ends[0]], *on_direction, *middle[ends[0] :], *on_step]

    def _is_undecayed(self, variable: Any) -> bool:
        return any(re.search(pattern, path_of(variable)) for pattern in self.undecayed)

    def __post_init__(self) -> None:
        self._decay = AddDecayedWeights()
        self._rate = ScaleByLearningRate()
        every = [*self.recipe, *self.before, *self.after]
        for group in self.groups:
            every.extend(group.transforms or ())
        identities = [id(transform) for transform in every]
        twice = [type(transform).__name__ for transform in every if identities.count(id(transform)) > 1]
        if twice:
            raise ValueError(
                "`before`, `after` and the groups' `transforms` must hold different instances: a shared one would be "
                f"two after saving and loading. Received: the same {twice[0]} instance twice. To serve all variables, "
                "put it in `before` or `after`."
            )
        self._check_decay("weight_decay", self.weight_decay, self.recipe)
        for group in self.groups:
            chain = self.recipe if group.transforms is None else group.transforms
            self._check_decay("weight_decay", group.weight_decay, chain)

    def _check_decay(self, name: str, weight_decay: float | None, recipe: Sequence[Transform]) -> None:
        """Refuses a decay that no transform of the chain would take."""
        if weight_decay is not None and not any(_is_open_decay(transform) for transform in self._chain(recipe)):
            advice = "Put `AddDecayedWeights()` without an argument where the decay belongs."
            raise checks.fail(name, "None for a chain that applies the rate or a decay itself", weight_decay, advice)


def _is_open_decay(transform: Transform) -> bool:
    return isinstance(transform, AddDecayedWeights) and transform.weight_decay is None
