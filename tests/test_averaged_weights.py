"""The callback `AveragedWeights`: what is evaluated and saved, and that training does not notice."""

import keras
import numpy as np
import pytest
from keras import ops
from test_averages import MeanOfWeights, make

from kopt import optimizers
from kopt.callbacks import AveragedWeights, TensorBoard
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled

# Without jit, JAX compiles each operation, which takes longer here.
EAGER = keras.backend.backend() != "jax"
KINDS = {
    "schedule_free": make,
    "mean_of_weights": lambda **changes: optimizers.SGD(0.1, after=[MeanOfWeights()], **changes),
    "accumulation": lambda: make(gradient_accumulation_steps=2),
    "scaled_loss": lambda: keras.optimizers.LossScaleOptimizer(make(), 16.0),
    "of_one_group": lambda: make(groups=[optimizers.Group("bias", frozen=True)]),
}


def validation():
    rng = np.random.default_rng(11)
    return rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")


def fit(model, callbacks=(), epochs=3, *, validated=True, **options):
    x, y = problems.data()
    data = {"validation_data": validation()} if validated else {}
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **data, **options}
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), **options).history


def trained(kind="schedule_free", callbacks=(), epochs=3, *, eager=EAGER, **options):
    model = compiled(problems.sequential(), KINDS[kind](), metrics=["mae"], run_eagerly=eager)
    return model, fit(model, callbacks, epochs, **options)


class WeightsAt(keras.callbacks.Callback):
    """Notes the weights at the end of each epoch, and the first ones that a batch meets."""

    def __init__(self):
        super().__init__()
        self.at_epoch_end, self.at_epoch_begin = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.at_epoch_end.append(problems.values(self.model.trainable_variables))

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.at_epoch_begin.append(problems.values(self.model.trainable_variables))


def averages_by_hand(kind, epochs):
    """Returns models whose weights are the average after 1, 2, ... epochs: each is trained from the start."""
    return [trained(kind, epochs=n + 1)[0] for n in range(epochs)]


def test_compiled_training_is_as_without():
    model, _ = trained(callbacks=[AveragedWeights()], eager=False)
    plain, _ = trained(eager=False)
    Numbers.of(model).assert_same(Numbers.of(plain))


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_that_of_the_average_and_training_is_as_without(kind):
    model, history = trained(kind, [AveragedWeights()], epochs=2)
    plain, without = trained(kind, epochs=2)
    Numbers.of(model).assert_same(Numbers.of(plain))
    assert history["loss"] == without["loss"]
    assert history["mae"] == without["mae"]
    assert history["val_loss"] != without["val_loss"]
    for n, averaged in enumerate(averages_by_hand(kind, 2)):
        loss, mae = averaged.evaluate(*validation(), verbose=0)
        np.testing.assert_allclose([history["val_loss"][n], history["val_mae"][n]], [loss, mae], rtol=1e-6)


def test_weights_are_back_when_the_epoch_begins():
    with_callback, without = WeightsAt(), WeightsAt()
    trained(callbacks=[AveragedWeights(), with_callback])
    trained(callbacks=[without])
    for a, b in zip(with_callback.at_epoch_begin, without.at_epoch_begin, strict=True):
        problems.assert_same(a, b)
    for a, b in zip(with_callback.at_epoch_end, without.at_epoch_end, strict=True):
        assert all(np.any(one != other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("is_first", "validated", "sees_average"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_checkpoints_hold_the_average(tmp_path, is_first, validated, sees_average):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    averaged = AveragedWeights()
    model, _ = trained(
        callbacks=[averaged, checkpoint] if is_first else [checkpoint, averaged], epochs=2, validated=validated
    )
    (expected,) = averages_by_hand("schedule_free", 1)
    loaded = keras.models.load_model(tmp_path / "1.keras")
    assert (loaded.evaluate(*validation(), verbose=0) == expected.evaluate(*validation(), verbose=0)) == sees_average
    if sees_average:
        problems.assert_same(problems.values(loaded.weights), problems.values(expected.weights))
    fit(loaded, [AveragedWeights()], epochs=1, validated=validated)
    problems.assert_close(problems.values(loaded.weights), problems.values(model.weights))


def test_the_best_checkpoint_is_chosen_and_restored_by_the_average(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), save_best_only=True)
    stopping = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    model, history = trained(callbacks=[AveragedWeights(), checkpoint, stopping], epochs=4)
    best = min(history["val_loss"])
    for one in (model, keras.models.load_model(tmp_path / "best.keras")):
        np.testing.assert_allclose(one.evaluate(*validation(), verbose=0)[0], best, rtol=1e-6)


def test_two_fits_equal_one():
    once, _ = trained(epochs=3)
    twice, _ = trained(epochs=1)
    fit(twice, [AveragedWeights()], epochs=2)
    problems.assert_close(problems.values(twice.weights), problems.values(once.weights))
    problems.assert_close(problems.values(twice.optimizer.variables), problems.values(once.optimizer.variables))


def test_epochs_without_validation_and_of_several_steps_per_call():
    options = {"validation_freq": 2}
    x, y = problems.data()
    models = []
    for callbacks in ([AveragedWeights()], []):
        model = compiled(problems.sequential(), make(), steps_per_execution=2 if problems.traces() else 1)
        model.fit(
            x,
            y,
            batch_size=3,
            epochs=4,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
            validation_data=(x, y),
            **options,
        )
        models.append(model)
    Numbers.of(models[0]).assert_same(Numbers.of(models[1]))


def test_an_evaluation_in_the_middle_of_an_epoch():
    averaged = AveragedWeights()

    class Evaluates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                if keras.backend.backend() == "jax":
                    self.model.jax_state_sync()
                self.model.evaluate(*validation(), verbose=0, callbacks=[averaged])

    class Elsewhere(Evaluates):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                if keras.backend.backend() == "jax":
                    self.model.jax_state_sync()
                self.model.evaluate(*validation(), verbose=0)

    model, _ = trained(callbacks=[Evaluates(), averaged])
    plain, _ = trained(callbacks=[Elsewhere()])
    problems.assert_same(problems.values(model.weights), problems.values(plain.weights))


def test_evaluate_and_predict_put_the_average_there_for_their_time():
    model = compiled(problems.sequential(), make())
    x, y = problems.data()
    for _ in range(4):
        model.train_on_batch(x, y)
    before = Numbers.of(model)
    averaged_loss = model.evaluate(x, y, verbose=0, callbacks=[AveragedWeights()])
    Numbers.of(model).assert_same(before)
    predictions = model.predict(x, verbose=0, callbacks=[AveragedWeights()])
    Numbers.of(model).assert_same(before)
    model.optimizer.to_average()
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), averaged_loss, rtol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), predictions, rtol=1e-6)
    before = Numbers.of(model)
    model.evaluate(x, y, verbose=0, callbacks=[AveragedWeights()])
    Numbers.of(model).assert_same(before)


def test_weights_that_another_callback_loads_are_trained_on():
    class Resets(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([np.full_like(w, 0.5) for w in self.model.get_weights()])

    seen = WeightsAt()
    model, _ = trained(callbacks=[AveragedWeights(), Resets(), seen], epochs=2)
    z = [w for w in problems.values(model.optimizer.slot_variables) if w.shape == (4, 3)]
    assert len(z) == 2
    assert not np.allclose(seen.at_epoch_begin[1][0], 0.5)
    assert np.max(np.abs(seen.at_epoch_begin[1][0] - 0.5)) < 0.5, "0.8 parts of the new weights, 0.2 of z"


@pytest.mark.parametrize("is_first", [True, False])
def test_beside_tensorboard(tmp_path, is_first):
    averaged, board = AveragedWeights(), TensorBoard(str(tmp_path), gradients=1, histogram_freq=1)
    model, history = trained(callbacks=[averaged, board] if is_first else [board, averaged])
    plain, with_average = trained(callbacks=[AveragedWeights()])
    assert history["val_loss"] == with_average["val_loss"]
    problems.assert_close(problems.values(model.weights), problems.values(plain.weights))
    assert board.latest["gradients/global_norm"] > 0


@pytest.mark.parametrize(
    "optimizer",
    [lambda: optimizers.Adam(0.1), lambda: keras.optimizers.Adam(0.1, use_ema=True)],
    ids=["kopt", "keras"],
)
def test_an_optimizer_without_average_is_refused(optimizer):
    model = compiled(problems.sequential(), optimizer())
    for call in (lambda c: fit(model, c), lambda c: model.evaluate(*validation(), verbose=0, callbacks=c)):
        with pytest.raises(ValueError, match=r"needs an optimizer that evaluates with other weights.*Received: Adam"):
            call([AveragedWeights()])


def test_of_several_optimizers_those_that_average_do():
    def model():
        parts = [make(), optimizers.SGD(0.05)]
        several = keras.optimizers.MultiOptimizer(lambda variable: parts["second" in variable.path])
        return compiled(problems.sequential(), several)

    with_callback, plain = model(), model()
    history, without = fit(with_callback, [AveragedWeights()]), fit(plain)
    problems.assert_same(problems.values(with_callback.weights), problems.values(plain.weights))
    assert history["val_loss"][-1] != without["val_loss"][-1]


def test_a_fit_that_was_broken_off_leaves_nothing_behind():
    class Breaks(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            raise KeyboardInterrupt

    averaged, model = AveragedWeights(), compiled(problems.sequential(), make())
    with pytest.raises(KeyboardInterrupt):
        fit(model, [averaged, Breaks()])
    fit(model, [averaged], epochs=2)
    once, _ = trained(epochs=3)
    problems.assert_close(problems.values(model.weights), problems.values(once.weights))
    assert float(ops.convert_to_numpy(model.optimizer.iterations)) == 9
