"""Penalties against NumPy in float64, and models that train with them while their strengths change."""

import copy
import json

import devices
import keras
import numpy as np
import pytest
from compiling import by_compiler, dear_on_jax, others_dear_on_jax
from keras import ops

import kopt
import kopt.callbacks
from kopt import losses, optimizers, regularizers, schedules
from kopt._backend import derivatives
from kopt._core.followed import counting
from kopt.testing import problems
from kopt.testing.training_checks import policy

# XLA takes seconds for each program on TensorFlow.
COMPILED = {"jit_compile": keras.backend.backend() == "jax"}


def weights(*shape):
    return np.random.default_rng(len(shape)).normal(scale=0.6, size=shape).astype("float32")


DENSE, WIDE, KERNEL, BIAS = weights(5, 3), weights(3, 5), weights(3, 2, 2, 4), weights(4)
PROBABILITIES = np.random.default_rng(1).dirichlet([0.5, 1.0, 2.0], size=6).astype("float32")
LOGITS = np.random.default_rng(2).normal(scale=2.0, size=(4, 3, 5)).astype("float32")


def as_matrix(w):
    return np.asarray(w, "float64").reshape(-1, w.shape[-1])


def per_channel(w):
    return [as_matrix(w[..., channel, :]) for channel in range(w.shape[-2])]


def soft(w):
    """Bansal et al. 2018, equation 1, for the smaller of W^T W and W W^T."""
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    return np.sum((gram - np.eye(len(gram))) ** 2)


def srip(w):
    """Section 3.4: the largest |sigma_i^2 - 1|, of the singular values that there are."""
    return np.max(np.abs(np.linalg.svd(w, compute_uv=False) ** 2 - 1))


def top_squared(w):
    return np.linalg.norm(w, 2) ** 2


def group_lasso(*keep):
    def total(w):
        rows = np.moveaxis(np.asarray(w, "float64"), keep[0], 0).reshape(w.shape[keep[0]], -1)
        return np.sqrt(rows.shape[1]) * np.linalg.norm(rows, axis=1).sum()

    return total


def negative_entropy(p):
    p = np.asarray(p, "float64")
    return len(p) * np.mean(np.sum(p * np.log(p), axis=-1))


def softmax(z):
    e = np.exp(np.asarray(z, "float64"))
    return e / e.sum(axis=-1, keepdims=True)


def elastic(w):
    return 0.3 * np.abs(w.astype("float64")).sum() + 0.2 * (w.astype("float64") ** 2).sum()


R = regularizers
# A regularizer at non-default values, an argument, and the penalty in NumPy. 100 iterations leave nothing of the other
# singular values of these matrices but rounding.
ROWS = {
    "L1": (lambda: R.L1(0.3), KERNEL, lambda w: 0.3 * np.abs(w.astype("float64")).sum()),
    "L2": (lambda: R.L2(0.3), BIAS, lambda w: 0.3 * np.square(w.astype("float64")).sum()),
    "L1L2": (lambda: R.L1L2(0.3, 0.2), DENSE, elastic),
    "SoftOrthogonal": (lambda: R.SoftOrthogonal(0.3), DENSE, lambda w: 0.3 * soft(as_matrix(w))),
    "SoftOrthogonal, wide": (lambda: R.SoftOrthogonal(0.3), WIDE, lambda w: 0.3 * soft(as_matrix(w))),
    "SoftOrthogonal, kernel": (lambda: R.SoftOrthogonal(0.3), KERNEL, lambda w: 0.3 * soft(as_matrix(w))),
    "SoftOrthogonal, depthwise": (
        lambda: R.SoftOrthogonal(0.3, depthwise=True),
        KERNEL,
        lambda w: 0.3 * sum(map(soft, per_channel(w))),
    ),
    "SRIP": (lambda: R.SRIP(0.3, 100), DENSE, lambda w: 0.3 * srip(as_matrix(w))),
    "SRIP, wide": (lambda: R.SRIP(0.3, 100), WIDE, lambda w: 0.3 * srip(as_matrix(w))),
    "SRIP, kernel": (lambda: R.SRIP(0.3, 100), KERNEL, lambda w: 0.3 * srip(as_matrix(w))),
    "SRIP, depthwise": (
        lambda: R.SRIP(0.3, 100, depthwise=True),
        KERNEL,
        lambda w: 0.3 * sum(map(srip, per_channel(w))),
    ),
    "SpectralPenalty": (lambda: R.SpectralPenalty(0.3, 100), DENSE, lambda w: 0.3 * top_squared(as_matrix(w))),
    "SpectralPenalty, wide": (lambda: R.SpectralPenalty(0.3, 100), WIDE, lambda w: 0.3 * top_squared(as_matrix(w))),
    "SpectralPenalty, kernel": (
        lambda: R.SpectralPenalty(0.3, 100),
        KERNEL,
        lambda w: 0.3 * top_squared(as_matrix(w)),
    ),
    "SpectralPenalty, depthwise": (
        lambda: R.SpectralPenalty(0.3, 100, depthwise=True),
        KERNEL,
        lambda w: 0.3 * sum(map(top_squared, per_channel(w))),
    ),
    "GroupLasso": (lambda: R.GroupLasso(0.3), KERNEL, lambda w: 0.3 * group_lasso(-1)(w)),
    "GroupLasso, inputs": (lambda: R.GroupLasso(0.3, "inputs"), KERNEL, lambda w: 0.3 * group_lasso(-2)(w)),
    "GroupLasso, bias": (lambda: R.GroupLasso(0.3), BIAS, lambda w: 0.3 * np.abs(w.astype("float64")).sum()),
    "EntropyPenalty": (lambda: R.EntropyPenalty(0.3), PROBABILITIES, lambda p: 0.3 * negative_entropy(p)),
    "EntropyPenalty, logits": (
        lambda: R.EntropyPenalty(0.3, from_logits=True),
        LOGITS,
        lambda z: 0.3 * negative_entropy(softmax(z)),
    ),
    "EntropyPenalty, axis": (
        lambda: R.EntropyPenalty(0.3, from_logits=True, axis=1),
        LOGITS,
        lambda z: 0.3 * negative_entropy(softmax(np.moveaxis(z, 1, -1))),
    ),
}
every_row = pytest.mark.parametrize(("make", "x", "reference"), list(ROWS.values()), ids=list(ROWS))
PENALTIES = [name for name in regularizers.__all__ if hasattr(getattr(regularizers, name), "strengths")]
KINDS = {name: ROWS[name] for name in PENALTIES}


def number(tensor):
    return float(ops.convert_to_numpy(tensor))


def value_and_gradient(penalty, x):
    """Returns a penalty and its gradient by the backend, at an array."""
    function = by_compiler(derivatives.gradient_of(lambda values: penalty(values[0])), xla=False)
    value, gradients = function([ops.convert_to_tensor(x)])
    return number(value), ops.convert_to_numpy(gradients[0])


def gradient(penalty, x):
    return value_and_gradient(penalty, x)[1]


def differences(function, x, h=1e-5):
    """Returns central differences of a function in float64."""
    x = np.asarray(x, "float64")
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        found[place] = (function(x + step) - function(x - step)) / (2 * h)
    return found


@every_row
def test_value_and_gradient(make, x, reference):
    """Float32 against float64: sums of up to 48 terms, products of matrices, a hundred iterations."""
    value, found = value_and_gradient(make(), x)
    np.testing.assert_allclose(value, reference(x), rtol=2e-5)
    expected = differences(reference, x)
    # Unit vectors that are off by e change the gradient in the first order of e, the value in the second.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in KINDS if name != "EntropyPenalty"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 2, 4)], ids=str)
def test_zero_weights_have_a_finite_gradient(name, shape):
    make = KINDS[name][0]
    found = gradient(make(), np.zeros(shape, "float32"))
    np.testing.assert_array_equal(found, np.zeros(shape))


def test_orthonormal_weights_cost_nothing_and_have_a_finite_gradient():
    q = np.linalg.qr(weights(6, 6))[0][:, :3].astype("float32")
    for penalty in (R.SoftOrthogonal(1.0), R.SRIP(1.0)):
        assert 0.0 <= number(penalty(ops.convert_to_tensor(q))) < 1e-6
    # W^T W - I is exactly 0 here, where a norm has no gradient.
    np.testing.assert_array_equal(gradient(R.SRIP(1.0), np.eye(4, 3, dtype="float32")), np.zeros((4, 3)))


def test_certain_predictions_have_a_finite_gradient():
    certain = np.eye(3, dtype="float32")
    assert number(R.EntropyPenalty(0.3)(ops.convert_to_tensor(certain))) == 0.0
    assert np.isfinite(gradient(R.EntropyPenalty(0.3), certain)).all()


def test_power_iteration_stays_below_and_comes_near():
    """64 x 64 Gaussian numbers have singular values close together: the default 20 iterations are within 3 %."""
    w = np.random.default_rng(0).normal(size=(64, 64)).astype("float32") / 8
    for penalty, exact in ((R.SpectralPenalty(1.0), top_squared(w)), (R.SRIP(1.0), srip(w))):
        found = number(penalty(ops.convert_to_tensor(w)))
        assert 0.97 * exact < found < 1.00001 * exact
        assert number(penalty(ops.convert_to_tensor(w))) == found


def test_half_precision_weights_are_summed_in_float32():
    """Ten thousand ones: bfloat16 sums stop at 256."""
    ones = ops.ones((100, 100), "bfloat16")
    for name in ("L1", "L2"):
        penalty = by_compiler(getattr(R, name)(0.5), xla=False)(ones)
        assert keras.backend.standardize_dtype(penalty.dtype) == "float32"
        assert number(penalty) == 5000.0


@pytest.mark.parametrize("name", KINDS)
def test_config_round_trip(name):
    make, x, _ = KINDS[name]
    penalty = make()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(penalty)))
    assert config["registered_name"] == f"kopt>{name}"
    again = keras.regularizers.get(config)
    assert type(again) is type(penalty)
    assert again.get_config() == penalty.get_config()
    assert number(again(ops.convert_to_tensor(x))) == number(penalty(ops.convert_to_tensor(x)))
    ramp = schedules.Linear(0.1, 8, 0.5)
    first = penalty.strengths[0]
    scheduled = type(penalty)(**{first: ramp})
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(scheduled)))
    assert keras.regularizers.get(config).get_config() == scheduled.get_config()


@keras.saving.register_keras_serializable(package="tests")
class Channels(keras.layers.Layer):
    """Images of 4 x 4 out of four features."""

    def call(self, x):
        return ops.reshape(x, (-1, 2, 2, 1))


def network():
    """Returns a model that has every regularizer, on dense, convolution and depthwise kernels and on outputs."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            problems.dense(
                4, "first", 1, kernel_regularizer=R.L1(0.01), bias_regularizer=R.L2(0.02), bias_initializer="ones"
            ),
            Channels(),
            keras.layers.Conv2D(4, 2, padding="same", kernel_regularizer=R.SoftOrthogonal(0.02), name="conv"),
            keras.layers.DepthwiseConv2D(
                2, depth_multiplier=2, depthwise_regularizer=R.SpectralPenalty(0.04, depthwise=True), name="depthwise"
            ),
            keras.layers.Flatten(),
            problems.dense(4, "even", 6, kernel_regularizer=R.SRIP(0.03)),
            problems.dense(5, "groups", 3, kernel_regularizer=R.GroupLasso(0.05, "inputs")),
            problems.dense(3, "classes", 4, activation="softmax", activity_regularizer=R.EntropyPenalty(0.1)),
            problems.dense(1, "last", 2, kernel_regularizer=R.L1L2(0.01, 0.02)),
        ]
    )


def penalties(model):
    """Returns the penalties of a model for a batch, each as a number."""

    def computed(trainable, others, x):
        return model.stateless_call(trainable, others, x, return_losses=True)[-1]

    values = [[v.value for v in variables] for variables in (model.trainable_variables, model.non_trainable_variables)]
    found = by_compiler(computed, xla=False)(*values, ops.convert_to_tensor(problems.data()[0]))
    return [number(loss) for loss in found]


def test_a_compiled_fit_makes_penalties_smaller_and_is_saved(tmp_path):
    """Trained on the penalties alone (the sample weights are 0), and saved with its weights."""
    model = network()
    before = penalties(model)
    assert len(before) == 8
    x, y = problems.data()
    model.compile(optimizers.SGD(0.05), "mse", **COMPILED)
    model.fit(x, y, sample_weight=np.zeros(len(y)), batch_size=4, epochs=10, verbose=0)
    after = penalties(model)
    assert all(a < b for a, b in zip(after, before, strict=True)), (before, after)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(penalties(loaded), after)


@dear_on_jax
def test_half_precision_training():
    with policy("mixed_bfloat16"):
        model = network()
        model.compile(optimizers.SGD(0.01), "mse", **COMPILED)
        assert all(np.isfinite(problems.fit(model)))
        assert {keras.backend.standardize_dtype(loss.dtype) for loss in model.losses} <= {"float32"}


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is on JAX in any case, and not on PyTorch")
def test_xla_compiles_them():
    model = network()
    model.compile(optimizers.SGD(0.01), "mse", jit_compile=True)
    assert all(np.isfinite(problems.fit(model)))


# Strengths that change


def shown(penalty, *, activity=False, wrap=None):
    """Returns a model whose loss is the strength, and a way to train it by a number of steps of one batch."""
    place = "activity_regularizer" if activity else "kernel_regularizer"
    layer = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False, **{place: penalty})
    inner = keras.Sequential([keras.Input((1,)), layer])
    model = inner if wrap is None else wrap(inner)
    model.compile(optimizers.SGD(0.0), "mse", **COMPILED)
    return model


class Losses(keras.callbacks.Callback):
    """Keeps each batch's loss, in an epoch of one batch."""

    def __init__(self, assign=lambda epoch: None):
        super().__init__()
        self.seen, self.assign = [], assign

    def on_epoch_begin(self, epoch, logs=None):
        self.assign(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs["loss"])


def trained(model, epochs, assign=lambda epoch: None, **options):
    losses_seen = Losses(assign)
    one = np.ones((2, 1), "float32")
    model.fit(one, one, epochs=epochs, verbose=0, callbacks=[losses_seen], **options)
    return losses_seen.seen


@pytest.mark.parametrize("activity", [False, True])
def test_a_strength_is_assigned_inside_and_between_fits(activity):
    penalty = R.L2(0.25)
    model = shown(penalty, activity=activity)
    assert trained(model, 1) == [0.25]
    assert trained(model, 3, lambda epoch: penalty.l2.assign([0.5, 0.5, 2.0][epoch])) == [0.5, 0.5, 2.0]
    penalty.l2.assign(3.0)
    assert trained(model, 1) == [3.0]
    assert float(penalty.l2) == penalty.get_config()["l2"] == 3.0
    assert repr(penalty.l2) == "Strength(l2=3.0)"


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras spreads trainings on TensorFlow and JAX")
@pytest.mark.parametrize("is_made_inside", [False, True])
def test_a_strength_is_assigned_on_two_devices(is_made_inside):
    """Each replica's share of the penalty is half of it: together they are the whole."""
    spread = (
        devices.mirrored() if keras.backend.backend() == "tensorflow" else devices.distributed(devices.data_parallel)
    )
    early = R.L2(0.25)
    with spread:
        penalty = R.L2(0.25) if is_made_inside else early
        model = shown(penalty)
        assert trained(model, 2, lambda epoch: penalty.l2.assign([0.5, 2.0][epoch])) == [0.5, 2.0]


def test_a_copied_regularizer_has_a_strength_of_its_own():
    penalty = R.L2(0.25)
    model = shown(penalty)
    model = keras.models.clone_model(model)
    copied = model.layers[0].kernel_regularizer
    copied.l2.assign(0.5)
    assert (float(penalty.l2), float(copied.l2), float(copy.deepcopy(copied).l2)) == (0.25, 0.5, 0.5)


def test_an_assigned_strength_is_saved(tmp_path):
    penalty = R.L1L2(0.25, 0.5)
    model = shown(penalty)
    penalty.l1.assign(1.0)
    model.save(tmp_path / "model.keras")
    assert trained(keras.models.load_model(tmp_path / "model.keras"), 1) == [1.5]


RAMP = schedules.Join([0.25, 0.5, 1.0], [1, 2])
WRAPPERS = {
    "ScheduledLoss": losses.ScheduledLoss,
    "GradientPenalty": lambda inner: losses.GradientPenalty(inner, 0.0),
    "SAM": lambda inner: kopt.SAM(losses.ScheduledLoss(inner), 0.05),
}


@pytest.mark.parametrize("activity", [False, True])
@pytest.mark.parametrize("wrapper", ["ScheduledLoss", *others_dear_on_jax("GradientPenalty", "SAM")])
def test_a_schedule_is_followed_inside_of_a_model_that_counts(wrapper, activity):
    model = shown(R.L2(RAMP), activity=activity, wrap=WRAPPERS[wrapper])
    assert trained(model, 3) == [0.25, 0.5, 1.0]


def test_a_scheduled_strength_is_validated_saved_and_gone_on_with(tmp_path):
    model = shown(R.L2(RAMP), wrap=losses.ScheduledLoss)
    one = np.ones((2, 1), "float32")
    seen = model.fit(one, one, epochs=1, verbose=0, validation_data=(one, one)).history
    assert (seen["loss"], seen["val_loss"]) == ([0.25], [0.5])
    model.save(tmp_path / "model.keras")
    assert trained(keras.models.load_model(tmp_path / "model.keras"), 2) == [0.5, 1.0]


def test_a_callback_tells_the_length_of_the_run():
    penalty = R.L2(schedules.Linear(0.0, 1.0, 1.0, by="fraction"))
    model = shown(penalty, wrap=losses.ScheduledLoss)
    with pytest.raises(ValueError, match="does not know yet how many steps the run has"):
        trained(model, 4)
    one = np.ones((2, 1), "float32")
    model = shown(R.L2(schedules.Linear(0.0, 1.0, 1.0, by="fraction")), wrap=losses.ScheduledLoss)
    seen = model.fit(one, one, epochs=4, verbose=0, callbacks=[kopt.callbacks.Report()]).history["loss"]
    np.testing.assert_allclose(seen, [0.0, 0.25, 0.5, 0.75], rtol=1e-6)


@pytest.mark.parametrize("activity", [False, True])
def test_a_schedule_without_a_count_raises_in_training_and_not_in_prediction(activity):
    model = shown(R.L2(RAMP), activity=activity)
    one = np.ones((2, 1), "float32")
    with pytest.raises(ValueError, match=r"`l2` of L2 follows a schedule.*kopt.losses.ScheduledLoss\(model\)"):
        model.fit(one, one, verbose=0)
    model = shown(R.L2(RAMP), activity=activity)  # JAX leaves no values in a model whose step failed.
    np.testing.assert_array_equal(model.predict(one, verbose=0), one)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(one)), one)


def test_schedules_of_each_strength():
    penalty = R.L1L2(0.25, RAMP)
    with counting(ops.convert_to_tensor(2, "int32")):
        assert number(penalty(ops.convert_to_tensor(DENSE))) == pytest.approx(
            0.25 * np.abs(DENSE).sum() + np.square(DENSE).sum(), rel=1e-6
        )
    penalty.l1.assign(0.0)
    with pytest.raises(ValueError, match="`l2` follows a schedule and cannot be assigned"):
        penalty.l2.assign(1.0)
    with pytest.raises(TypeError, match="`l2` follows a schedule"):
        float(penalty.l2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: R.L1(-1.0), "`l1` must be a finite number >= 0. Received: l1=-1.0"),
        (lambda: R.L2(float("nan")), "`l2` must be a finite number >= 0"),
        (lambda: R.L2("0.1"), "`l2` must be a finite number >= 0"),
        (lambda: R.L2(schedules.Linear(0.1, 5, 0.5) - 0.2), "This is what the schedule gives at step"),
        (lambda: R.L2(0.1).l2.assign(-1), "`l2` must be a finite number >= 0. Received: l2=-1"),
        (lambda: R.SRIP(0.1, 0), "`iterations` must be an integer >= 1"),
        (lambda: R.SpectralPenalty(0.1, 1.5), "`iterations` must be an integer >= 1"),
        (lambda: R.SoftOrthogonal(0.1, depthwise=1), "`depthwise` must be True or False"),
        (lambda: R.GroupLasso(0.1, "rows"), "`groups` must be one of 'outputs', 'inputs'"),
        (lambda: R.EntropyPenalty(0.1, from_logits="yes"), "`from_logits` must be True or False"),
        (lambda: R.EntropyPenalty(0.1, axis=1.0), "`axis` must be an integer"),
        (lambda: R.SoftOrthogonal(0.1)(ops.ones(3)), r"a tensor of 2 or more dimensions. Received: x=\(3,\)"),
        (lambda: R.SRIP(0.1, depthwise=True)(ops.ones((3, 3))), "a tensor of 3 or more dimensions"),
        (lambda: R.GroupLasso(0.1, "inputs")(ops.ones(3)), "a tensor of 2 or more dimensions"),
        (lambda: R.EntropyPenalty(0.1)(ops.ones(3)), "outputs of two or more dimensions"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_and_positional_arguments_are_refused():
    with pytest.raises(TypeError, match="l3"):
        R.L1L2(l3=0.1)
    with pytest.raises(TypeError, match="positional"):
        R.SRIP(0.1, 10, True)
