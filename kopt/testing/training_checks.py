"""Does the optimizer work in `fit`: traced once, saved and resumed, in 16-bit, with Keras' callbacks?"""

import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops

from kopt._core.configured import register
from kopt.optimizers import Group
from kopt.testing import problems
from kopt.testing.config_checks import Make
from kopt.transforms.transform import State, Tensor, Transform


@register
class CountTraces(Transform):
    """Leaves updates as they are and counts how often Python runs it: once a trace, once a step without tracing."""

    count: ClassVar[int] = 0

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        CountTraces.count += 1
        return u, slots


class TraceLog(keras.callbacks.Callback):
    """Notes after each batch how often `CountTraces` has run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes one number."""
        self.counts.append(CountTraces.count)


def everything() -> dict[str, Any]:
    """Returns keyword arguments that turn on, together, what has state or a config of its own.

    Epochs have three batches: one that ends saves an accumulator that is half full.
    """
    return {
        "learning_rate": keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5),
        "groups": [Group("bias$", weight_decay=0.0), Group(lambda v: "second" in v.path, learning_rate=0.5)],
        "use_ema": True,
        "ema_momentum": 0.8,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
        "clipnorm": 1.0,
    }


@dataclass(frozen=True)
class Numbers:
    """The numbers of a model in training."""

    weights: problems.Arrays
    optimizer: problems.Arrays

    @classmethod
    def of(cls, model: keras.Model) -> "Numbers":
        """Reads weights and optimizer state."""
        return cls(problems.values(model.weights), problems.values(model.optimizer.variables))

    def assert_same(self, other: "Numbers") -> None:
        """Fails unless all numbers agree bit for bit."""
        problems.assert_same(self.weights, other.weights)
        problems.assert_same(self.optimizer, other.optimizer)

    def assert_close(self, other: "Numbers", tolerance: float = 1e-6) -> None:
        """Fails unless all numbers agree to `tolerance`, as in `problems.assert_close`."""
        problems.assert_close(self.weights, other.weights, tolerance)
        problems.assert_close(self.optimizer, other.optimizer, tolerance)


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer, **options: Any) -> keras.Model:
    """Returns the model, compiled for regression."""
    model.compile(optimizer, "mse", **options)
    return model


@dataclass(frozen=True)
class Interrupted:
    """What `interrupted` saw."""

    counts: list[int]
    went_on: Numbers
    resumed: Numbers
    configs: tuple[dict[str, Any], dict[str, Any]]


def interrupted(model: keras.Model, path: pathlib.Path) -> Interrupted:
    """Trains an epoch, saves, trains another; then loads what was saved and trains that other epoch again."""
    log = TraceLog()
    problems.fit(model, callbacks=[log])
    saved_config = model.optimizer.get_config()
    model.save(path)
    problems.fit(model, callbacks=[log])
    loaded = keras.models.load_model(path)
    loaded_config = loaded.optimizer.get_config()
    problems.fit(loaded)
    return Interrupted(log.counts, Numbers.of(model), Numbers.of(loaded), (saved_config, loaded_config))


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Sets the global dtype policy for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class TrainingChecks:
    """`fit` on models of two layers; one run is shared by the checks that can read it.

    `supports` is that of `StepChecks`; `"sparse"`: gradients of an Embedding, with repeated rows, equal dense ones.

    Attributes:
        rounding: How far apart, as in `problems.assert_close`, two float32 runs of the same arithmetic in another order
            may end. Methods that turn gradients into eigenvectors need more: a rounding error in a matrix moves its
            eigenvectors by that error over the gap between two eigenvalues.
        slow_start: Whether the loss may rise in the first four steps, at rates of 0.02 and 0.01.
    """

    supports: ClassVar[frozenset[str]]
    rounding: ClassVar[float] = 1e-6
    slow_start: ClassVar[bool] = False

    def _once(self, name: str, run: Callable[[], Any]) -> Any:
        """Returns what `run` returned the first time in this class."""
        results: dict[str, Any] = type(self).__dict__.get("_results") or {}
        type(self)._results = results  # type: ignore[attr-defined]
        if name not in results:
            results[name] = run()
        return results[name]

    @pytest.fixture
    def full_run(self, make: Make, tmp_path: pathlib.Path) -> Interrupted:
        """An interrupted run with everything turned on."""

        def run() -> Interrupted:
            model = compiled(problems.sequential(), make(before=[CountTraces()], **everything()))
            return interrupted(model, tmp_path / "model.keras")

        return self._once("full", run)

    @pytest.fixture
    def plain_run(self, make: Make) -> "TwoRates":
        """An epoch at one learning rate, one at another: compiled as the backend does by default."""
        return self._once("plain", lambda: two_rates(make, jit_compile="auto"))

    def test_resumed_training_equals_uninterrupted(self, full_run: Interrupted) -> None:
        full_run.resumed.assert_same(full_run.went_on)

    def test_config_survives_the_file(self, full_run: Interrupted) -> None:
        saved, loaded = full_run.configs
        assert loaded == saved

    def test_second_step_does_not_retrace(self, full_run: Interrupted, plain_run: "TwoRates") -> None:
        if not problems.traces():
            pytest.skip("the backend runs Python at each step")
        for counts in (full_run.counts, plain_run.counts):  # `plain_run` changes the learning rate in between
            assert counts[0] > 0
            assert set(counts) == {counts[0]}

    def test_loss_falls(self, plain_run: "TwoRates") -> None:
        if self.slow_start:
            pytest.skip("may start slowly, by its own word")
        assert plain_run.losses[-1] < plain_run.losses[0]

    def test_eager_equals_compiled(self, make: Make, plain_run: "TwoRates") -> None:
        two_rates(make, run_eagerly=True).numbers.assert_close(plain_run.numbers, self.rounding)

    def test_eager_equals_compiled_with_everything(self, make: Make, full_run: Interrupted) -> None:
        model = compiled(problems.sequential(), make(before=[CountTraces()], **everything()), run_eagerly=True)
        problems.fit(model)
        problems.fit(model)
        Numbers.of(model).assert_close(full_run.went_on, self.rounding)

    def test_mixed_float16(self, make: Make) -> None:
        with policy("mixed_float16"):
            model = compiled(problems.sequential(), make(learning_rate=0.01))
            assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
            problems.fit(model, epochs=2)
        _assert_sound(model)
        assert int(ops.convert_to_numpy(model.optimizer.iterations)) > 0

    def test_mixed_bfloat16(self, make: Make) -> None:
        with policy("mixed_bfloat16"):
            model = compiled(problems.sequential(), make(learning_rate=0.01), run_eagerly=True)
            problems.fit(model, batch=6)
        _assert_sound(model)

    def test_embedding_equals_dense(self, make: Make) -> None:
        if "sparse" not in self.supports:
            pytest.skip("takes no sparse gradients, by definition")
        rows = np.array([[0, 1, 1], [1, 3, 0], [3, 3, 3], [0, 0, 1]])  # 2 and 4 never occur
        targets = np.array([[1.0], [-1.0], [2.0], [0.5]], "float32")
        results = []
        for first, x in (
            (keras.layers.Embedding(5, 2), rows),
            # `embed` in its path: a rule for matrices is to take both for the same.
            (keras.layers.Dense(2, use_bias=False, name="embedding_by_product"), np.eye(5, dtype="float32")[rows]),
        ):
            model = keras.Sequential([first, keras.layers.Flatten(), problems.dense(1, "last", 3)])
            model.build(x.shape)
            model.layers[0].set_weights([np.linspace(-1, 1, 10).reshape(5, 2)])
            compiled(model, make(global_clipnorm=1.0), run_eagerly=True)
            for _ in range(2):
                model.train_on_batch(x, targets)
            results.append(Numbers.of(model))
        results[0].assert_close(results[1], self.rounding)

    def test_frozen_layer_stays(self, make: Make) -> None:
        model = problems.sequential()
        model.layers[0].trainable = False
        before = problems.values(model.layers[0].weights)
        compiled(model, make(weight_decay=0.1), run_eagerly=True)
        problems.fit(model, batch=6)
        problems.assert_same(problems.values(model.layers[0].weights), before)
        assert not any("first" in slot.name for slot in model.optimizer.slot_variables)

    def test_keras_callbacks_set_the_rate(self, make: Make) -> None:
        model = compiled(problems.sequential(), make(learning_rate=1.0), run_eagerly=True)
        scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: [0.01, 0.02][epoch])
        problems.fit(model, epochs=2, batch=12, callbacks=[scheduler])
        np.testing.assert_allclose(ops.convert_to_numpy(model.optimizer.learning_rate), 0.02)
        plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
        problems.fit(model, epochs=3, batch=12, callbacks=[plateau])
        np.testing.assert_allclose(ops.convert_to_numpy(model.optimizer.learning_rate), 0.005)


@dataclass(frozen=True)
class TwoRates:
    """What `two_rates` saw."""

    counts: list[int]
    losses: list[float]
    numbers: Numbers


def two_rates(make: Make, **options: Any) -> TwoRates:
    """Trains an epoch of two batches at each of two learning rates."""
    log = TraceLog()
    model = compiled(problems.sequential(), make(learning_rate=0.02, before=[CountTraces()]), **options)
    losses = problems.fit(model, batch=6, callbacks=[log])
    model.optimizer.learning_rate = 0.01
    losses += problems.fit(model, batch=6, callbacks=[log])
    return TwoRates(log.counts, losses, Numbers.of(model))


def _assert_sound(model: keras.Model) -> None:
    for variable in [*model.trainable_variables, *model.optimizer.variables]:
        if keras.backend.is_float_dtype(variable.dtype):
            assert variable.dtype == "float32"
            assert np.all(np.isfinite(ops.convert_to_numpy(variable)))
