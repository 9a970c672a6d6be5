"""The conditional structure of a define-by-run search space, read off the trials that there are."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from kopt.tuning.sampler.tree import Parameter, Tree

MOST_VALUES = 32


def inferred(trials: Sequence[FrozenTrial]) -> Tree:
    """Returns the space that `trials` came from, as far as they show it.

    A parameter that some trials lack is taken to depend on the discrete parameters suggested before it whose values
    tell those trials from the others. What a value leads to that no trial had is unknown: then nothing is active.

    Args:
        trials: In the order of their numbers; those that neither completed nor were pruned may lack parameters.
    """
    latest: dict[str, BaseDistribution] = {}
    for trial in trials:
        latest.update(trial.distributions)
    names = _parents_first(trials)
    whole = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return Tree([Parameter(n, latest[n], _conditions(n, names[:i], latest, whole)) for i, n in enumerate(names)])


def _parents_first(trials: Sequence[FrozenTrial]) -> list[str]:
    """Returns all names, each after those that its first trial suggested before it."""
    names: list[str] = []
    for trial in trials:
        place = 0
        for name in trial.distributions:
            if name in names:
                place = max(place, names.index(name) + 1)
            else:
                names.insert(place, name)
                place += 1
    return names


def _conditions(
    name: str, before: list[str], distributions: dict[str, BaseDistribution], trials: Sequence[FrozenTrial]
) -> tuple[dict[str, tuple[Any, ...]], ...]:
    having = [trial for trial in trials if name in trial.params]
    lacking = [trial for trial in trials if name not in trial.params]
    found = []
    while lacking and having:
        best = None
        for place, parent in enumerate(before):
            values = {trial.params.get(parent) for trial in having}
            if None in values or not _is_discrete(distributions[parent]):
                continue
            left = [trial for trial in lacking if trial.params.get(parent) in values]
            seen = sum(parent in trial.params for trial in trials)
            # Categories before numbers, which in few trials tell anything apart; then the parent that is nearest.
            rank = (len(left), not isinstance(distributions[parent], CategoricalDistribution), seen, -place)
            if len(left) < len(lacking) and (best is None or rank < best[0]):
                best = (rank, parent, tuple(sorted(values, key=repr)), left)
        if best is None:
            break
        found.append({best[1]: best[2]})
        lacking = best[3]
    return tuple(sorted(found, key=lambda condition: before.index(next(iter(condition)))))


def _is_discrete(distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return True
    if not isinstance(distribution, IntDistribution):
        return False
    return distribution.high - distribution.low < MOST_VALUES * distribution.step
