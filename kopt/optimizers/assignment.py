"""Which chain each variable gets: groups resolved once, kept in the config, independent of paths after loading."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from kopt._core import checks
from kopt._core.configured import Hyperparameter, Schedule
from kopt._core.match import path_of
from kopt._core.warn import warn_user
from kopt.optimizers.group import Group, resolve
from kopt.optimizers.order import complaints
from kopt.optimizers.partition import Partition
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, Transform


class Row(TypedDict):
    """What was decided for one variable."""

    path: str
    shape: list[int]
    group: int | None
    decays: bool
    chosen: bool


@dataclass
class Assignment:
    """The parts of an optimizer's chains, and who gets which.

    Attributes:
        recipe: The chain of the variables without a group of their own chain, or two of them.
        groups: In the order in which they are tried.
        before: In front of every chain.
        after: Behind every chain.
        clip: The clipping keywords as transforms.
        weight_decay: Of the variables whose group has none.
        undecayed: Regular expressions: variables whose path one of them is found in have no weight decay.
        rows: The decisions, one per variable; None before they are made.
        decisions: What the `decide` of each transform has returned, in the order of `transforms()`, with a number for
            variables that it does not serve, too.
    """

    recipe: tuple[Transform, ...] | Partition
    groups: tuple[Group, ...]
    before: tuple[Transform, ...]
    after: tuple[Transform, ...]
    clip: tuple[Transform, ...]
    weight_decay: Hyperparameter | None
    undecayed: list[str] = field(default_factory=list)
    rows: list[Row] | None = None
    decisions: list[list[float] | None] | None = None

    def resolve(self, variables: Sequence[Any]) -> None:
        """Decides for each variable, unless a saved decision for the same shapes in the same order is there.

        Paths are not compared: Keras renames them on loading (`sequential/enc/kernel` comes back as `enc/kernel`).
        """
        shapes = [list(variable.shape) for variable in variables]
        is_known = self.rows is not None and [row["shape"] for row in self.rows] == shapes
        if not is_known:
            numbers = resolve(self.groups, variables)
            chosen = self.recipe.rule(variables) if isinstance(self.recipe, Partition) else [False] * len(variables)
            self.rows = [
                Row(path=path_of(v), shape=shape, group=number, decays=not self._is_undecayed(v), chosen=is_chosen)
                for v, shape, number, is_chosen in zip(variables, shapes, numbers, chosen, strict=True)
            ]
        if not is_known or len(self.decisions or []) != len(self.transforms()):
            chains = self.chains()
            self.decisions = [_decision(transform, chains, variables) for transform in self.transforms()]

    def chains(self) -> dict[int, list[Transform]]:
        """Returns the chain of each variable that is trained, by index."""
        filled: dict[tuple[int, Hyperparameter], Transform | None] = {}
        chains: dict[int, list[Transform]] = {}
        for i, row in enumerate(self.rows or []):
            group = None if row["group"] is None else self.groups[row["group"]]
            if group is not None and group.frozen:
                continue
            decay, own = self.decay_of(row), None if group is None else group.transforms
            chain: list[Transform | None] = list(self._chain(self._recipes()[row["chosen"]] if own is None else own))
            for place, transform in enumerate(chain):
                if transform is not None and transform.takes_decay:
                    key = (id(transform), decay)
                    if key not in filled:
                        filled[key] = transform.with_weight_decay(decay)
                    chain[place] = filled[key]
            chains[i] = [transform for transform in chain if transform is not None]
        return chains

    def decided(self) -> dict[int, Sequence[float]]:
        """Returns the numbers that transforms have decided on, one per variable, by the transform's `id`."""
        pairs = zip(self.transforms(), self.decisions or [], strict=False)
        return {id(transform): numbers for transform, numbers in pairs if numbers is not None}

    def saved(self) -> dict[str, Any]:
        """Returns what was decided, for `restore`."""
        made = {} if not self.decided() else {"decisions": self.decisions}
        return {"undecayed": list(self.undecayed), "rows": self.rows, **made}

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes over the decisions of an optimizer with the same arguments."""
        self.undecayed, self.rows = list(saved["undecayed"]), saved["rows"]
        self.decisions = saved.get("decisions")

    def exclude_from_decay(self, variables: Sequence[Any], patterns: Sequence[str]) -> None:
        """Lets variables, and those whose path a pattern is found in, go without weight decay."""
        if isinstance(patterns, str):
            raise checks.fail("var_names", "a list of regular expressions", patterns)
        paths = [f"^{re.escape(path_of(variable))}$" for variable in variables]
        self.undecayed.extend([*paths, *(checks.pattern("var_names", name).pattern for name in patterns)])

    def decay_of(self, row: Row) -> Hyperparameter:
        """Returns the weight decay of a variable, a number or a schedule."""
        group = None if row["group"] is None else self.groups[row["group"]]
        decay = self.weight_decay if group is None or group.weight_decay is None else group.weight_decay
        return (decay or 0.0) if row["decays"] else 0.0

    def factors(self) -> list[float]:
        """Returns the factor on the learning rate of each variable."""
        return [1.0 if row["group"] is None else self.groups[row["group"]].learning_rate for row in self.rows or []]

    def transforms(self) -> list[Transform]:
        """Returns every transform that was given."""
        parts = {id(recipe): recipe for recipe in self._recipes()}.values()
        chains = [*parts, self.before, self.after, *(group.transforms or () for group in self.groups)]
        return [transform for chain in chains for transform in chain]

    def schedules(self) -> dict[str, Schedule]:
        """Returns the schedules that hyperparameters follow, each once, by the name of what follows them."""
        decays = [("weight_decay", self.weight_decay)]
        decays += [(f"weight_decay/{group.name}", group.weight_decay) for group in self.groups]
        named = [(name, decay) for name, decay in decays if isinstance(decay, Schedule)]
        named += [item for transform in self.transforms() for item in transform.schedules().items()]
        found: dict[str, Schedule] = {}
        for name, schedule in named:
            if all(schedule is not other for other in found.values()):
                found[name if name not in found else f"{name}_{len(found)}"] = schedule
        return found

    def _chain(self, recipe: Sequence[Transform]) -> list[Transform]:
        middle = list(recipe)
        if not any(isinstance(transform, ScaleByLearningRate) for transform in middle):
            end = next((i for i, transform in enumerate(middle) if transform.acts_on == "step"), len(middle))
            has_decay = any(transform.decays or transform.takes_decay for transform in middle)
            middle[end:end] = [self._rate] if has_decay else [self._decay, self._rate]
        # `after` acts on what the rate and a decay in front of it will be applied to.
        end = next((i for i, t in enumerate(middle) if isinstance(t, ScaleByLearningRate)), len(middle))
        while end and middle[end - 1].decays:
            end -= 1
        on_direction = [transform for transform in self.after if transform.acts_on == "direction"]
        on_step = [transform for transform in self.after if transform.acts_on == "step"]
        return [*self.clip, *self.before, *middle[:end], *on_direction, *middle[end:], *on_step]

    def _recipes(self) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """Returns the recipe of variables that are not chosen, and of those that are."""
        if isinstance(self.recipe, Partition):
            return self.recipe.rest, self.recipe.chosen
        return self.recipe, self.recipe

    def _is_undecayed(self, variable: Any) -> bool:
        return any(re.search(pattern, path_of(variable)) for pattern in self.undecayed)

    def __post_init__(self) -> None:
        self._decay = AddDecayedWeights()
        self._rate = ScaleByLearningRate()
        parts = {id(recipe): recipe for recipe in self._recipes()}.values()
        every = self.transforms()
        identities = [id(transform) for transform in every]
        twice = [type(transform).__name__ for transform in every if identities.count(id(transform)) > 1]
        if twice:
            raise ValueError(
                "`before`, `after` and the groups' `transforms` must hold different instances: a shared one would be "
                f"two after saving and loading. Received: the same {twice[0]} instance twice. To serve all variables, "
                "put it in `before` or `after`."
            )
        for recipe in parts:
            self._check_decay(self.weight_decay, recipe)
        for group in self.groups:
            for chain in parts if group.transforms is None else [group.transforms]:
                self._check_decay(group.weight_decay, chain)
        chains = [*parts, *(group.transforms for group in self.groups if group.transforms is not None)]
        for complaint in dict.fromkeys(text for chain in chains for text in complaints(self._chain(chain))):
            warn_user(complaint)

    def _check_decay(self, weight_decay: Hyperparameter | None, recipe: Sequence[Transform]) -> None:
        """Refuses a decay that no transform of the chain would take."""
        if weight_decay is not None and not any(transform.takes_decay for transform in self._chain(recipe)):
            advice = "Put `AddDecayedWeights()` without an argument where the decay belongs."
            rule = "None for a chain that applies the rate or a decay itself"
            raise checks.fail("weight_decay", rule, weight_decay, advice)


def _decision(
    transform: Transform, chains: Mapping[int, Sequence[Transform]], variables: Sequence[Any]
) -> list[float] | None:
    """Returns what a transform decides on for the variables that it serves, and 0 for the others."""
    served = [i for i, chain in chains.items() if any(item is transform for item in chain)]
    numbers = transform.decide([variables[i] for i in served]) if served else None
    if numbers is None:
        return None
    by_index = dict(zip(served, numbers, strict=True))
    return [by_index.get(i, 0.0) for i in range(len(variables))]
