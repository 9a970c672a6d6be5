"""Losses against NumPy in float64, and models that train on an objective of their own."""

import contextlib
import json

import devices
import keras
import numpy as np
import pytest
from compiling import others_dear_on_jax
from keras import ops

import kopt
import kopt.callbacks
from kopt import layers, losses, optimizers, schedules
from kopt.testing import problems

# XLA takes seconds for each program on TensorFlow; `test_xla_compiles_objectives` tries it once.
COMPILED = {"jit_compile": keras.backend.backend() == "jax"}
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(scale=2.0, size=(6, 5)).astype("float32")
LABELS = RNG.integers(0, 5, size=6)
SOFT = (lambda x: x / x.sum(axis=-1, keepdims=True))(RNG.uniform(size=(6, 5))).astype("float32")


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def crossentropy(targets, z, e=0.0, temperature=1.0):
    """Szegedy et al. 2016, section 7: targets mixed with the uniform distribution. Row by row."""
    z, targets = np.asarray(z, "float64"), np.asarray(targets, "float64")
    return -(((1 - e) * targets + e / z.shape[-1]) * log_softmax(z / temperature)).sum(axis=-1)


def binary(y, z, e=0.0, temperature=1.0):
    p = 1 / (1 + np.exp(-np.asarray(z, "float64") / temperature))
    y = np.asarray(y, "float64") * (1 - e) + e / 2
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=-1)


def number(tensor):
    return float(ops.convert_to_numpy(tensor))


def probabilities(z):
    return np.exp(log_softmax(z.astype("float64"))).astype("float32")


ONE_HOT = np.eye(5)[LABELS]
NUMBERS = {"label_smoothing": 0.2, "temperature": 1.7}
PARITY = {
    "sparse": (losses.SparseCategoricalCrossentropy, LABELS, ONE_HOT, crossentropy),
    "sparse, labels in a column": (losses.SparseCategoricalCrossentropy, LABELS[:, None], ONE_HOT, crossentropy),
    "one-hot": (losses.CategoricalCrossentropy, ONE_HOT, ONE_HOT, crossentropy),
    "soft": (losses.CategoricalCrossentropy, SOFT, SOFT, crossentropy),
    "binary": (losses.BinaryCrossentropy, ONE_HOT, ONE_HOT, binary),
}


@pytest.mark.parametrize("numbers", [NUMBERS, {"label_smoothing": 0.3}, {"temperature": 0.6}, {}], ids=str)
@pytest.mark.parametrize("name", PARITY)
def test_equals_the_formula(name, numbers):
    kind, given, targets, formula = PARITY[name]
    expected = formula(targets, LOGITS, *({"label_smoothing": 0.0, "temperature": 1.0} | numbers).values())
    y_pred = 1 / (1 + np.exp(-LOGITS)) if formula is binary else probabilities(LOGITS)
    for loss, predicted in ((kind(from_logits=True, **numbers), LOGITS), (kind(**numbers), y_pred)):
        np.testing.assert_allclose(number(loss(given, predicted)), expected.mean(), rtol=2e-6)
        weights = np.arange(6.0)
        weighted = (weights * expected).sum() / 6
        np.testing.assert_allclose(number(loss(given, predicted, weights)), weighted, rtol=2e-6)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("name", PARITY)
def test_without_smoothing_it_is_keras_own(name, from_logits):
    kind, given, _, formula = PARITY[name]
    own = getattr(keras.losses, kind.__name__)(from_logits=from_logits)
    squash = (lambda z: 1 / (1 + np.exp(-z))) if formula is binary else probabilities
    predicted = LOGITS if from_logits else squash(LOGITS)
    np.testing.assert_allclose(
        number(kind(from_logits=from_logits)(given, predicted)), number(own(given, predicted)), rtol=1e-6
    )


@pytest.mark.parametrize("kind", [losses.CategoricalCrossentropy, losses.BinaryCrossentropy])
def test_numbers_of_smoothing_mean_what_they_mean_in_keras(kind):
    own = getattr(keras.losses, kind.__name__)(from_logits=True, label_smoothing=0.3)
    ours = kind(from_logits=True, label_smoothing=0.3)
    np.testing.assert_allclose(number(ours(ONE_HOT, LOGITS)), number(own(ONE_HOT, LOGITS)), rtol=1e-6)


def test_ignored_labels_count_neither_in_the_sum_nor_in_the_mean():
    y = LABELS.copy()
    y[[1, 4]] = -1
    for numbers in ({}, NUMBERS):
        loss = losses.SparseCategoricalCrossentropy(ignore_class=-1, from_logits=True, **numbers)
        expected = crossentropy(ONE_HOT, LOGITS, *numbers.values())[[0, 2, 3, 5]].mean()
        np.testing.assert_allclose(number(loss(y, LOGITS)), expected, rtol=2e-6)
    own = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1, from_logits=True)
    ours = losses.SparseCategoricalCrossentropy(ignore_class=-1, from_logits=True)
    np.testing.assert_allclose(number(ours(y, LOGITS)), number(own(y, LOGITS)), rtol=1e-6)
    everything = losses.SparseCategoricalCrossentropy(ignore_class=-1, from_logits=True, reduction=None)
    assert list(np.flatnonzero(ops.convert_to_numpy(everything(y, LOGITS)) == 0)) == [1, 4]


@pytest.mark.parametrize("axis", [1, -2])
def test_classes_may_be_on_another_axis(axis):
    z = RNG.normal(size=(2, 5, 3)).astype("float32")
    y = RNG.integers(0, 5, size=(2, 3))
    targets = np.eye(5)[y]
    expected = crossentropy(targets, np.moveaxis(z, 1, -1), 0.1, 2.0).mean()
    numbers = {"axis": axis, "from_logits": True, "label_smoothing": 0.1, "temperature": 2.0}
    np.testing.assert_allclose(number(losses.SparseCategoricalCrossentropy(**numbers)(y, z)), expected, rtol=2e-6)
    one_hot = np.moveaxis(targets, -1, 1)
    np.testing.assert_allclose(number(losses.CategoricalCrossentropy(**numbers)(one_hot, z)), expected, rtol=2e-6)


def test_binary_labels_in_a_row_meet_predictions_in_a_column():
    y, z = np.array([0.0, 1.0, 1.0]), np.array([[0.3], [-0.2], [2.0]], "float32")
    loss = losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(number(loss(y, z)), binary(y[:, None], z, 0.1).mean(), rtol=2e-6)


SCHEDULE = schedules.Linear(0.4, 4, 0.1)
MADE = {
    "sparse": lambda: losses.SparseCategoricalCrossentropy(
        label_smoothing=SCHEDULE,
        temperature=1.5,
        from_logits=True,
        ignore_class=3,
        axis=1,
        reduction="sum",
        name="mine",
    ),
    "one-hot": lambda: losses.CategoricalCrossentropy(temperature=SCHEDULE, label_smoothing=0.1),
    "binary": lambda: losses.BinaryCrossentropy(label_smoothing=SCHEDULE, dtype="float16"),
    "flooding": lambda: losses.Flooding(losses.BinaryCrossentropy(temperature=2.0), 0.3, name="mine"),
}


@pytest.mark.parametrize("name", MADE)
def test_the_config_survives_json(name):
    loss = MADE[name]()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
    assert keras.saving.get_registered_name(type(loss)) == f"kopt>{type(loss).__name__}"


# Schedules in losses


def classifier(*body):
    return keras.Sequential([keras.Input((4,)), *body, problems.dense(3, "last", 2)])


X = RNG.normal(size=(12, 4)).astype("float32")
Y = RNG.integers(0, 3, size=12)


def fit(model, epochs=1, batch=12, callbacks=(), **options):
    seen = model.fit(
        X, Y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks), **options
    )
    return seen.history


def logits_of(model, x=X):
    return ops.convert_to_numpy(model(x)).astype("float64")


def smoothed(schedule=SCHEDULE, **numbers):
    return losses.SparseCategoricalCrossentropy(label_smoothing=schedule, from_logits=True, **numbers)


def expected_losses(model, steps):
    """The rate is 0, so that only the schedule moves the loss."""
    z, values = logits_of(model), schedules.preview(SCHEDULE, max(steps) + 1)
    return [crossentropy(np.eye(3)[Y], z, values[step]).mean() for step in steps]


EAGER = pytest.param({"run_eagerly": True}, marks=pytest.mark.slow)


@pytest.mark.parametrize("compilation", [COMPILED, EAGER], ids=["compiled", "eager"])
def test_the_compiled_loss_follows_its_schedule(compilation):
    model = losses.ScheduledLoss(classifier())
    model.compile(optimizers.SGD(0.0), smoothed(), **compilation)
    np.testing.assert_allclose(fit(model, 6)["loss"], expected_losses(model, range(6)), rtol=1e-5)


def test_validation_has_the_numbers_of_the_next_step():
    model = losses.ScheduledLoss(classifier())
    model.compile(optimizers.SGD(0.0), smoothed(), **COMPILED)
    history = fit(model, 3, validation_data=(X, Y))
    np.testing.assert_allclose(history["val_loss"], expected_losses(model, [1, 2, 3]), rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected_losses(model, [3])[0], rtol=1e-5)


def test_micro_batches_count():
    model = losses.ScheduledLoss(classifier())
    model.compile(optimizers.SGD(0.0, gradient_accumulation_steps=2), smoothed(), **COMPILED)
    fit(model, batch=3)
    assert number(model.steps) == 4


def test_several_losses_in_a_dict_are_all_told():
    inputs = keras.Input((4,))
    outputs = {name: problems.dense(3, name, 2)(inputs) for name in ("one", "other")}
    waiting = schedules.Linear(0.4, 1.0, 0.0, by="fraction")
    model = losses.ScheduledLoss(keras.Model(inputs, outputs))
    flooded = losses.Flooding(smoothed(waiting), 0.0)
    model.compile(optimizers.SGD(0.0), {"one": flooded, "other": smoothed()}, **COMPILED)
    y = {"one": Y, "other": Y}
    seen = model.fit(X, y, batch_size=12, epochs=4, verbose=0, callbacks=[kopt.callbacks.Report()]).history["one_loss"]
    z = logits_of(keras.Model(inputs, outputs["one"]))
    values = [0.4, 0.3, 0.2, 0.1]
    np.testing.assert_allclose(seen, [crossentropy(np.eye(3)[Y], z, e).mean() for e in values], rtol=1e-5)


def test_saved_and_loaded_it_goes_on_where_it_was(tmp_path):
    model = losses.ScheduledLoss(classifier())
    model.compile(optimizers.SGD(0.0), smoothed(), **COMPILED)
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(fit(loaded, 2)["loss"], expected_losses(model, [2, 3]), rtol=1e-5)


def test_without_the_model_around_it_a_schedule_raises():
    model = classifier()
    model.compile(optimizers.SGD(0.0), smoothed(), **COMPILED)
    with pytest.raises(
        ValueError, match=r"`label_smoothing` of SparseCategoricalCrossentropy follows a schedule.*Train"
    ):
        fit(model)
    with pytest.raises(ValueError, match=r"kopt.losses.ScheduledLoss\(model\)"):
        smoothed(0.0, temperature=schedules.Linear(2.0, 3, 1.0))(Y, logits_of(model))


def test_fractions_wait_for_the_run():
    model = losses.ScheduledLoss(classifier())
    model.compile(optimizers.SGD(0.0), smoothed(schedules.Linear(0.4, 1.0, 0.0, by="fraction")), **COMPILED)
    with pytest.raises(ValueError, match="with the model in place of the optimizer"):
        fit(model)


# Objectives: models around a model


class Doubling(keras.layers.Layer):
    """Multiplies by 1, 2, 3 ... from pass to pass in training."""

    def build(self, shape):
        self.passes = self.add_weight(
            shape=(), initializer="zeros", trainable=False, aggregation="only_first_replica", name="passes"
        )

    def call(self, x, training=False):
        if not training:
            return x
        factor = self.passes.value + 1.0
        self.passes.assign(factor)
        return x * factor


def numeric_gradient(function, w, h=1e-5):
    gradient = np.zeros_like(w)
    for i in np.ndindex(*w.shape):
        up, down = w.copy(), w.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (function(up) - function(down)) / (2 * h)
    return gradient


@pytest.mark.parametrize("from_logits", [True, False])
def test_r_drop_equals_the_formula_and_its_gradient(from_logits):
    dense = problems.dense(3, "last", 2, use_bias=False)
    tail = [] if from_logits else [keras.layers.Softmax()]
    model = keras.Sequential([keras.Input((4,)), dense, Doubling(), *tail])
    start = model.get_weights()[0].astype("float64")

    def objective(w):
        z = [X @ w, 2 * (X @ w)]
        p, q = (log_softmax(part) for part in z)
        kl = 0.5 * ((np.exp(p) * (p - q)).sum(axis=-1) + (np.exp(q) * (q - p)).sum(axis=-1))
        return np.mean([crossentropy(np.eye(3)[Y], part).mean() for part in z]) + 0.7 * kl.mean()

    trained = losses.RDrop(model, 0.7, from_logits=from_logits)
    trained.compile(optimizers.SGD(0.1), losses.SparseCategoricalCrossentropy(from_logits=from_logits), **COMPILED)
    np.testing.assert_allclose(fit(trained)["loss"], objective(start), rtol=1e-5)
    moved = model.get_weights()[0]
    np.testing.assert_allclose(moved, start - 0.1 * numeric_gradient(objective, start), rtol=1e-4, atol=1e-5)
    plain = crossentropy(np.eye(3)[Y], X @ moved).mean()
    np.testing.assert_allclose(trained.evaluate(X, Y, verbose=0), plain, rtol=1e-5)


@pytest.mark.parametrize(("target", "two_sided"), others_dear_on_jax((1.5, False), (1.0, True), (0.0, True)))
def test_the_gradient_penalty_equals_the_formula_and_its_gradient(target, two_sided):
    model = keras.Sequential(
        [keras.Input((4,)), problems.dense(5, "first", 1, activation="tanh"), problems.dense(3, "last", 2)]
    )
    start = [w.astype("float64") for w in model.get_weights()]

    def objective(w):
        hidden = np.tanh(X @ w + start[1])
        loss = crossentropy(np.eye(3)[Y], hidden @ start[2] + start[3]).mean()
        gradient = ((1 - hidden**2) * start[2].sum(axis=1)) @ w.T
        excess = np.linalg.norm(gradient, axis=1) - target
        return loss + 0.6 * np.mean((excess if two_sided else np.maximum(excess, 0)) ** 2)

    trained = losses.GradientPenalty(model, 0.6, target, two_sided=two_sided)
    trained.compile(optimizers.SGD(0.1), losses.SparseCategoricalCrossentropy(from_logits=True), **COMPILED)
    np.testing.assert_allclose(fit(trained)["loss"], objective(start[0]), rtol=1e-5)
    moved = start[0] - 0.1 * numeric_gradient(objective, start[0])
    np.testing.assert_allclose(model.get_weights()[0], moved, rtol=1e-4, atol=1e-5)


OBJECTIVES = {
    "ScheduledLoss": losses.ScheduledLoss,
    "RDrop": lambda model: losses.RDrop(model, schedules.Linear(0.2, 5, 0.9), from_logits=True),
    "GradientPenalty": lambda model: losses.GradientPenalty(model, 0.2, 0.5, two_sided=False),
}

# Each program takes the compilers seconds.
ROWS_OF_OBJECTIVES = [
    pytest.param(wrap, id=name, marks=pytest.mark.slow if problems.traces() and name != "RDrop" else ())
    for name, wrap in OBJECTIVES.items()
]


def regular(rate=0.3):
    return classifier(
        problems.dense(4, "first", 1, activation="tanh"),
        keras.layers.BatchNormalization(),
        layers.ScheduledDropout(schedules.Linear(rate, 10, rate / 2), seed=1),
    )


@pytest.mark.parametrize("wrap", ROWS_OF_OBJECTIVES)
def test_an_objective_is_saved_and_goes_on(wrap, tmp_path):
    trained = wrap(regular(0.0))
    trained.compile(optimizers.SGD(0.1, momentum=0.9), smoothed(), metrics=["accuracy"], **COMPILED)
    fit(trained, batch=4)
    trained.save(tmp_path / "outer.keras")
    trained.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "outer.keras")
    assert type(loaded) is type(trained)
    own = [{name: value for name, value in part.get_config().items() if name != "model"} for part in (loaded, trained)]
    assert own[0] == own[1]
    alone = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(alone.predict(X, verbose=0), trained.predict(X, verbose=0))
    for part in (trained, loaded):
        fit(part, batch=4)
        assert number(part.steps) == 6
        assert number(part.model.layers[2].steps) == 6  # in one step, also with two passes
    problems.assert_close(problems.values(loaded.weights), problems.values(trained.weights))


def test_without_weight_the_penalty_leaves_no_trace():
    """Batch statistics and counts are those of the plain model; masks of dropout too, as the seed's state is kept."""
    plain, inner = regular(), regular()
    inner.set_weights(plain.get_weights())
    penalised = losses.GradientPenalty(inner, 0.0)
    for model in (plain, penalised):
        model.compile(optimizers.SGD(0.1), losses.SparseCategoricalCrossentropy(from_logits=True), **COMPILED)
        fit(model, batch=4)
    problems.assert_close(inner.get_weights(), plain.get_weights(), 1e-5)


def test_objectives_can_be_put_around_each_other():
    """R-Drop of twice the same pass and a penalty of weight 0 leave the compiled loss, whose schedule goes on."""
    inner = losses.GradientPenalty(classifier(), 0.0)
    model = losses.RDrop(losses.ScheduledLoss(inner), 0.5, from_logits=True)
    model.compile(optimizers.SGD(0.0), smoothed(), **COMPILED)
    np.testing.assert_allclose(fit(model, 3)["loss"], expected_losses(model, range(3)), rtol=1e-5)
    assert number(inner.steps) == 3


@pytest.mark.parametrize("wrap", ROWS_OF_OBJECTIVES)
def test_sam_around_an_objective_trains_on_it(wrap):
    """At a tiny radius SAM's gradient is the objective's own."""
    plain, inner = wrap(classifier()), wrap(classifier())
    sam = kopt.SAM(inner, 1e-4)
    for model in (plain, sam):
        model.compile(optimizers.SGD(0.1), smoothed(), **COMPILED)
    np.testing.assert_allclose(fit(sam, 3)["loss"], fit(plain, 3)["loss"], rtol=1e-3)
    assert number(inner.steps) == 3
    problems.assert_close(inner.get_weights(), plain.get_weights(), 2e-3)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles always, Keras on PyTorch never")
def test_xla_compiles_objectives():
    model = losses.RDrop(losses.GradientPenalty(regular(), 0.2), 0.5, from_logits=True)
    model.compile(optimizers.SGD(0.1), losses.Flooding(smoothed(), 0.1), jit_compile=True)
    assert np.isfinite(fit(model, 2)["loss"]).all()


def test_a_half_precision_model_trains():
    body = [problems.dense(4, "first", 1, activation="tanh", dtype="mixed_bfloat16"), layers.DropPath(0.2)]
    trained = losses.RDrop(losses.GradientPenalty(classifier(*body), 0.2), 0.5, from_logits=True)
    trained.compile(optimizers.SGD(0.1), smoothed(), **COMPILED)
    assert np.isfinite(fit(trained, batch=4)["loss"]).all()


# Flooding


def test_flooding_turns_around_below_the_level():
    """The gradient of |L - b| + b is that of L above b, and its negative below."""
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    moved = {}
    for level in (None, 0.2, 5.0):
        model = classifier()
        start = model.get_weights()
        loss = own if level is None else losses.Flooding(own, level)
        model.compile(optimizers.SGD(0.1), loss, **COMPILED)
        seen = fit(model, sample_weight=np.linspace(0.5, 2, 12))["loss"][0]
        moved[level] = [a - b for a, b in zip(model.get_weights(), start, strict=True)]
        plain = seen if level is None else plain  # noqa: F821
        expected = plain if level is None else abs(plain - level) + level
        np.testing.assert_allclose(seen, expected, rtol=1e-5)
    problems.assert_close(moved[0.2], moved[None])
    problems.assert_close(moved[5.0], [-m for m in moved[None]])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about tf.distribute")
def test_replicas_with_the_same_data_agree_with_one_device():
    def trained(scope):
        with scope:
            inner = losses.GradientPenalty(classifier(Doubling()), 0.4)
            model = losses.RDrop(inner, 0.3, from_logits=True)
            model.compile(optimizers.SGD(0.1), losses.Flooding(smoothed(), 5.0), **COMPILED)
        twice = np.concatenate([X, X]), np.concatenate([Y, Y])
        history = model.fit(*twice, batch_size=24, shuffle=False, verbose=0).history
        return history["loss"], model.get_weights()

    one, two = trained(contextlib.nullcontext()), trained(devices.mirrored())
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    problems.assert_close(two[1], one[1], 1e-5)


# Bad input


class OwnLoss(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


class OwnStep(keras.Model):
    def train_step(self, *args):
        return super().train_step(*args)


BINARY = losses.BinaryCrossentropy()
SPARSE = losses.SparseCategoricalCrossentropy()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.0), r"`label_smoothing` must be a number in \[0, 1\)"),
        (lambda: losses.BinaryCrossentropy(temperature=0), "`temperature` must be a finite number > 0"),
        (lambda: losses.BinaryCrossentropy(from_logits=1), "`from_logits` must be True or False"),
        (lambda: losses.BinaryCrossentropy(axis=0.5), "`axis` must be an integer"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=schedules.Linear(0.5, 10, 2.0)), "at step 10"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class="pad"), "`ignore_class` must be an integer or None"),
        (lambda: SPARSE(ONE_HOT, LOGITS), "`y_true` must be labels with 1 axes.*CategoricalCrossentropy"),
        (lambda: losses.CategoricalCrossentropy()(LABELS, LOGITS), "`y_true` must be .*SparseCategorical"),
        (lambda: BINARY(np.ones(3), np.ones((3, 2))), "`y_true` must be labels of the predictions' shape"),
        (lambda: losses.Flooding("mse", 0.1), "`loss` must be an instance of a Keras loss. Received: loss='mse'"),
        (lambda: losses.Flooding(BINARY, -1), "`level` must be a finite number >= 0"),
        (lambda: losses.Flooding(keras.losses.Huber(reduction=None), 0), "`loss` must be a loss with a reduction"),
        (lambda: losses.ScheduledLoss("model"), "`model` must be a keras.Model"),
        (lambda: losses.ScheduledLoss(OwnLoss()), "without a `compute_loss` of its own. Received: .*OwnLoss"),
        (lambda: kopt.SAM(OwnLoss()), "without a `compute_loss` of its own. Received: .*OwnLoss.*SAM replaces"),
        (lambda: losses.RDrop(OwnStep(), 1.0), "without a `train_step` of its own. Received: .*OwnStep"),
        (lambda: losses.RDrop(classifier(), -1.0), "`alpha` must be a finite number >= 0"),
        (lambda: losses.GradientPenalty(classifier(), 1.0, -1.0), "`target` must be a finite number >= 0"),
        (lambda: losses.GradientPenalty(classifier(), "much"), "`weight` must be a finite number >= 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_gradient_penalty_refuses_tokens():
    model = keras.Sequential([keras.Input((4,), dtype="int32"), keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    model.add(problems.dense(3, "last", 2))
    trained = losses.GradientPenalty(model, 1.0)
    trained.compile(optimizers.SGD(0.1), SPARSE, **COMPILED)
    with pytest.raises(ValueError, match=r"`x` must be one tensor of floating-point inputs\. Received: x='int"):
        trained.fit(np.ones((4, 4), "int32"), np.zeros(4), verbose=0)
