"""The suites for optimizers: a class to inherit from, with one fixture to supply."""

import pathlib
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from kopt.testing import problems
from kopt.testing.config_checks import ConfigChecks, Make
from kopt.testing.group_checks import GroupChecks
from kopt.testing.step_checks import StepChecks
from kopt.testing.training_checks import Numbers, TrainingChecks, compiled, everything, interrupted


class OptimizerContract(ConfigChecks, StepChecks, GroupChecks, TrainingChecks):
    """What every optimizer must do to be a good citizen of Keras, as tests that pytest runs.

    ```python
    from kopt.testing import OptimizerContract

    class TestMine(OptimizerContract):
        @pytest.fixture
        def make(self):
            return lambda **overrides: Mine(**{"learning_rate": 0.01, "beta": 0.9, **overrides})
    ```

    Hyperparameters that are not the defaults find more. The optimizer must take the keywords that every named optimizer
    takes, `weight_decay` among them. `supports`, `state_of` and `own_state` (see `StepChecks`) say what
    the optimizer promises. Runs of `fit` are shared by the tests of a class: with pytest-xdist, `--dist loadscope`
    keeps them in one process.
    """

    @pytest.fixture
    def make(self) -> Make:
        """Returns a function that builds the optimizer, with some arguments changed or added."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `make`.")


FEATURES: dict[str, Callable[[], dict[str, Any]]] = {
    "everything": everything,
    "accumulation": lambda: {"gradient_accumulation_steps": 3},
    "average": lambda: {"use_ema": True, "ema_momentum": 0.9},
    "overwriting_average": lambda: {"use_ema": True, "ema_overwrite_frequency": 3},
    "clipnorm": lambda: {"clipnorm": 0.5},
    "clipvalue": lambda: {"clipvalue": 0.5},  # less makes all elements equal, and products of lower rank
    "global_clipnorm": lambda: {"global_clipnorm": 0.5},
    "loss_scale_factor": lambda: {"loss_scale_factor": 16.0},
}

# Keras runs one step at a time on PyTorch, where `jit_compile=True` is Dynamo's affair: it needs a C++ compiler.
COMPILATIONS: list[dict[str, Any]] = [
    {"jit_compile": "auto"},
    {"jit_compile": False},
    {"jit_compile": True},
    {"jit_compile": False, "steps_per_execution": 3},
    {"jit_compile": True, "steps_per_execution": 2},
]


class OptimizerMatrix:
    """The wide cross product, for nightly runs: kinds of models, compilation, and each feature on its own.

    Supply `make`, and `rounding` where it is not the usual one, as for `OptimizerContract`.
    """

    rounding: ClassVar[float] = 1e-6

    @pytest.mark.parametrize("kind", problems.MODELS)
    @pytest.mark.parametrize("feature", FEATURES)
    def test_resumed_training_equals_uninterrupted(
        self, make: Make, kind: str, feature: str, tmp_path: pathlib.Path
    ) -> None:
        seen = interrupted(compiled(problems.MODELS[kind](), make(**FEATURES[feature]())), tmp_path / "model.keras")
        seen.resumed.assert_same(seen.went_on)

    @pytest.mark.parametrize("feature", FEATURES)
    def test_compilation_changes_nothing(self, make: Make, feature: str) -> None:
        def trained(**options: Any) -> Numbers:
            model = compiled(problems.sequential(), make(**FEATURES[feature]()), **options)
            problems.fit(model, epochs=2)
            return Numbers.of(model)

        eager = trained(run_eagerly=True)
        for options in COMPILATIONS if problems.traces() else COMPILATIONS[:2]:
            trained(**options).assert_close(eager, self.rounding)
