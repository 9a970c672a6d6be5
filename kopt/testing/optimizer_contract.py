"""The suites for optimizers: a class to inherit from, with one fixture to supply."""

import pathlib
from collections.abc import Callable
from typing import Any

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

    Hyperparameters that are not the defaults find more. `supports` and `slots_per_variable` (see `StepChecks`) say what
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
    "clipvalue": lambda: {"clipvalue": 0.1},
    "global_clipnorm": lambda: {"global_clipnorm": 0.5},
    "loss_scale_factor": lambda: {"loss_scale_factor": 16.0},
}


class OptimizerMatrix:
    """The wide cross product, for nightly runs: kinds of models, compilation, and each feature on its own.

    Supply `make`, as for `OptimizerContract`.
    """

    @pytest.mark.parametrize("kind", problems.MODELS)
    @pytest.mark.parametrize("feature", FEATURES)
    def test_resumed_training_equals_uninterrupted(
        self, make: Make, kind: str, feature: str, tmp_path: pathlib.Path
    ) -> None:
        seen = interrupted(compiled(problems.MODELS[kind](), make(**FEATURES[feature]())), tmp_path / "model.keras")
        seen.resumed.assert_same(seen.went_on)

    @pytest.mark.parametrize("compilation", [{"jit_compile": jit} for jit in (True, False, "auto")])
    @pytest.mark.parametrize("steps_per_execution", [1, 2])
    @pytest.mark.parametrize("feature", FEATURES)
    def test_compilation_changes_nothing(
        self, make: Make, compilation: dict[str, Any], steps_per_execution: int, feature: str
    ) -> None:
        if steps_per_execution > 1 and not problems.traces():
            pytest.skip("Keras runs one step at a time on this backend")
        eager = compiled(problems.sequential(), make(**FEATURES[feature]()), run_eagerly=True)
        problems.fit(eager, epochs=2)
        model = compiled(
            problems.sequential(), make(**FEATURES[feature]()), steps_per_execution=steps_per_execution, **compilation
        )
        problems.fit(model, epochs=2)
        Numbers.of(model).assert_close(Numbers.of(eager))
