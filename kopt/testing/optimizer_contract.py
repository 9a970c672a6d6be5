"""The suites for optimizers: a class to inherit from, with one fixture to supply."""

import pathlib
from typing import Any

import pytest

from kopt.testing import problems
from kopt.testing.config_checks import ConfigChecks, Make
from kopt.testing.group_checks import GroupChecks
from kopt.testing.step_checks import StepChecks
from kopt.testing.training_checks import TrainingChecks, compiled, everything, interrupted, state_of


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


class OptimizerMatrix:
    """The wide cross product, for nightly runs: kinds of models, compilation, and each feature on its own.

    Supply `make`, as for `OptimizerContract`.
    """

    FEATURES: dict[str, dict[str, Any]] = {
        "accumulation": {"gradient_accumulation_steps": 3},
        "average": {"use_ema": True, "ema_momentum": 0.9},
        "overwriting_average": {"use_ema": True, "ema_overwrite_frequency": 3},
        "clipnorm": {"clipnorm": 0.5},
        "clipvalue": {"clipvalue": 0.1},
        "global_clipnorm": {"global_clipnorm": 0.5},
        "loss_scale_factor": {"loss_scale_factor": 16.0},
    }

    @pytest.mark.parametrize("kind", problems.MODELS)
    @pytest.mark.parametrize("feature", ["everything", *FEATURES])
    def test_resumed_training_equals_uninterrupted(
        self, make: Make, kind: str, feature: str, tmp_path: pathlib.Path
    ) -> None:
        settings = everything() if feature == "everything" else self.FEATURES[feature]
        seen = interrupted(compiled(problems.MODELS[kind](), make(**settings)), tmp_path / "model.keras")
        problems.assert_same(seen.resumed.weights, seen.went_on.weights)
        problems.assert_same(seen.resumed.optimizer, seen.went_on.optimizer)

    @pytest.mark.parametrize("jit_compile", [True, False, "auto"])
    @pytest.mark.parametrize("steps_per_execution", [1, 2])
    @pytest.mark.parametrize("feature", ["everything", *FEATURES])
    def test_compilation_changes_nothing(
        self, make: Make, jit_compile: bool | str, steps_per_execution: int, feature: str
    ) -> None:
        if not problems.traces() and (steps_per_execution > 1 or jit_compile is True):
            pytest.skip("Keras runs one step at a time on this backend, in Python")
        options = {"jit_compile": jit_compile, "steps_per_execution": steps_per_execution}
        states = []
        for setting in (options, {"run_eagerly": True}):
            settings = everything() if feature == "everything" else self.FEATURES[feature]
            model = compiled(problems.sequential(), make(**settings), **setting)
            problems.fit(model, epochs=2)
            states.append(state_of(model))
        problems.assert_close(states[0].weights, states[1].weights)
        problems.assert_close(states[0].optimizer, states[1].optimizer)
