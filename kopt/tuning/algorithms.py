"""Samplers and pruners by name: what they are made of, and what has to be installed for them."""

import copy
import importlib.util
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.stats import qmc

from kopt._core import checks
from kopt.tuning.sampler import ConditionalGPSampler
from kopt.tuning.sampler.axis import axis_of
from kopt.tuning.sampler.seeds import generator_of, seed_of
from kopt.tuning.sampler.tree import Tree

SAMPLERS = ("auto", "random", "grid", "sobol", "halton", "tpe", "gp", "cmaes", "nsga2")
PRUNERS = ("asha", "successive_halving", "hyperband", "median", "patience", "threshold")
SEVERAL_OBJECTIVES = ("auto", "random", "grid", "sobol", "halton", "tpe", "nsga2")
NEEDS = {"gp": ("torch", "torch"), "cmaes": ("cmaes", "cmaes")}
PATIENCE = 3
MODERATE = 1e30

MakeSampler = Callable[[int, Tree], BaseSampler]


class QuasiRandomSampler(BaseSampler):
    """Points of a scrambled Sobol or Halton sequence over all parameters of a conditional space, active or not.

    Args:
        kind: "sobol" or "halton".
        seed: An integer >= 0.
        tree: The space.
    """

    def __init__(self, kind: str, seed: int, tree: Tree) -> None:
        self.kind, self.seed, self.tree = kind, seed, tree

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {p.name: p.distribution for p in self.tree.parameters if not p.distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        kind = qmc.Sobol if self.kind == "sobol" else qmc.Halton
        engine = kind(len(self.tree.names), scramble=True, seed=np.random.default_rng(seed_of(self.seed, self.kind)))
        if trial.number:
            engine.fast_forward(trial.number)
        values = self.tree.values(engine.random(1)[0])
        return {name: values[name] for name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return axis_of(param_distribution).value(generator_of(self.seed, trial.number, param_name).random())


def sampler_maker(sampler: str | BaseSampler, seed: int, objectives: int) -> MakeSampler:
    """Returns a function of a trial's number and the space that makes the sampler for that trial.

    Each trial has a sampler of its own, seeded by the number: what it proposes depends on the trials before it, and not
    on whether they ran in this process.

    Args:
        sampler: A name, or a sampler of Optuna; of the latter each trial gets a copy with other seeds.
        seed: An integer >= 0.
        objectives: How many there are.

    Raises:
        ValueError: The name is unknown, or the sampler is for one objective.
        ImportError: What the sampler needs is not installed.
    """
    if isinstance(sampler, BaseSampler):
        pristine = copy.deepcopy(sampler)
        return lambda number, _: _reseeded(copy.deepcopy(pristine), seed_of(seed, number))
    if not isinstance(sampler, str):
        raise checks.fail("sampler", "a name or an instance of optuna.samplers.BaseSampler", sampler)
    name = checks.choice("sampler", sampler, SAMPLERS)
    if objectives > 1 and name not in SEVERAL_OBJECTIVES:
        raise checks.fail("sampler", f"one of {SEVERAL_OBJECTIVES} with several objectives", sampler)
    package, extra = NEEDS.get(name, ("optuna", ""))
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"`sampler={name!r}` needs {package}: pip install 'keras-kopt[{extra}]'. "
            "`sampler='auto'` needs nothing more."
        )
    if name == "auto" and objectives == 1:
        # One instance: it has no state that its trials depend on, and keeps what it fitted last.
        process = ConditionalGPSampler(seed)
        return lambda _, tree: _over(process, tree)
    if name in ("sobol", "halton"):
        return lambda _, tree: QuasiRandomSampler(name, seed, tree)
    # With several objectives; "nsga2" draws its first fifty trials at random.
    named = _NAMED["tpe" if name == "auto" else name]
    return lambda number, _: _quietly(named, seed_of(seed, number))


def _over(process: ConditionalGPSampler, tree: Tree) -> ConditionalGPSampler:
    process.space = tree
    return process


# Conditional parameters are drawn independently at each trial; older versions of Optuna do not speak of it.
_UNWARNED: dict[str, Any] = (
    {"warn_independent_sampling": False}
    if "warn_independent_sampling" in inspect.signature(optuna.samplers.GPSampler).parameters
    else {}
)
_NAMED: dict[str, Callable[[int], BaseSampler]] = {
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    # A grid gives all values; the sampler is asked for what is not on it.
    "grid": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, **_UNWARNED),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
}


def _quietly(make: Callable[[int], Any], seed: int = 0) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make(seed)


def _reseeded(sampler: BaseSampler, seed: int) -> BaseSampler:
    """Returns the sampler with every random state that it and the samplers in it hold started from `seed`."""
    for name, value in vars(sampler).items():
        if isinstance(value, BaseSampler):
            _reseeded(value, seed_of(seed, name))
        elif isinstance(getattr(value, "rng", None), np.random.RandomState):
            value.rng.seed(seed_of(seed, name))
    return sampler


def pruner_of(pruner: str | BasePruner | None, objectives: int) -> BasePruner:
    """Returns a pruner for a name, an instance, or None for one that never prunes.

    Raises:
        ValueError: The name is unknown, or there are several objectives.
    """
    if pruner is None:
        return optuna.pruners.NopPruner()
    if objectives > 1:
        raise checks.fail("pruner", "None with several objectives", pruner, "No pruner compares Pareto fronts.")
    if isinstance(pruner, BasePruner):
        return pruner
    if not isinstance(pruner, str):
        raise checks.fail("pruner", "a name or an instance of optuna.pruners.BasePruner", pruner)
    made: dict[str, Callable[[], BasePruner]] = {
        "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1),
        "successive_halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1),
        "hyperband": optuna.pruners.HyperbandPruner,
        "median": optuna.pruners.MedianPruner,
        "patience": lambda: optuna.pruners.PatientPruner(None, PATIENCE),
        "threshold": lambda: optuna.pruners.ThresholdPruner(lower=-MODERATE, upper=MODERATE),
    }
    make = made[checks.choice("pruner", pruner, PRUNERS)]
    return _quietly(lambda _: make())
