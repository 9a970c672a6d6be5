"""Sharpness-aware minimisation: against a loop written out in NumPy, and inside Keras' own `fit`."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import kopt
from kopt import optimizers
from kopt.testing import problems
from kopt.testing.training_checks import policy

RATE = 0.05


def linear():
    layer = layers.Dense(1, name="line", kernel_initializer=keras.initializers.RandomNormal(seed=3))
    return keras.Sequential([keras.Input((4,)), layer])


def fitted(model, sam_options, epochs=2, batch=3, optimizer=None, **options):
    sam = kopt.SAM(model, **sam_options)
    sam.compile(optimizer or optimizers.SGD(RATE, momentum=0.8), "mse", **options)
    problems.fit(sam, epochs, batch)
    return sam


def gradient(x, y, w, b):
    error = x @ w + b - y
    return 2 * x.T @ error / len(x), 2 * error.mean(axis=0)


def norm(arrays):
    return np.sqrt(sum(np.sum(a**2) for a in arrays))


def written_out(w, b, rho, adaptive=False, every=1, alpha=0.7, epochs=2, batch=3):
    """Foret et al. 2021, algorithm 1; Kwon et al. 2021, equation 8 without its offset; Liu et al. 2022, algorithm 1."""
    x, y = (a.astype("float64") for a in problems.data())
    params, velocity, across = [w.astype("float64"), b.astype("float64")], [0.0, 0.0], None
    starts = [start for _ in range(epochs) for start in range(0, len(x), batch)]
    for step, start in enumerate(starts):
        rows = slice(start, start + batch)
        g = gradient(x[rows], y[rows], *params)
        if step % every == 0:
            scale = [np.abs(p) for p in params] if adaptive else [1.0, 1.0]
            size = norm([s * a for s, a in zip(scale, g, strict=True)])
            used = gradient(
                x[rows], y[rows], *[p + rho * s**2 * a / size for p, s, a in zip(params, scale, g, strict=True)]
            )
            cosine = sum(np.sum(a * s) for a, s in zip(g, used, strict=True)) / norm(g) / norm(used)
            across = [s - norm(used) * cosine * a / norm(g) for a, s in zip(g, used, strict=True)]
        else:
            used = [a + alpha * norm(g) / norm(across) * v for a, v in zip(g, across, strict=True)]
        velocity = [0.8 * v + a for v, a in zip(velocity, used, strict=True)]
        params = [p - RATE * v for p, v in zip(params, velocity, strict=True)]
    return params


OPTIONS = {
    "plain": {"rho": 0.3},
    "adaptive": {"rho": 0.7, "adaptive": True},
    "every third": {"rho": 0.3, "every": 3, "alpha": 0.4},
    "adaptive, every second": {"rho": 1.5, "adaptive": True, "every": 2, "alpha": 0.3},
}


@pytest.mark.parametrize("compilation", [{"jit_compile": False}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_loop_written_out(name, compilation):
    if compilation.get("jit_compile") and not problems.traces():
        pytest.skip("Keras compiles on PyTorch with Dynamo, which needs a C++ compiler")
    model = linear()
    start = model.get_weights()
    fitted(model, OPTIONS[name], **compilation)
    expected = written_out(*start, **OPTIONS[name])
    for w, e in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(w, e, rtol=1e-5, atol=1e-6)
    plain = linear()
    plain.compile(optimizers.SGD(RATE, momentum=0.8), "mse")
    problems.fit(plain, 2, 3)
    assert max(np.abs(a - b).max() for a, b in zip(plain.get_weights(), expected, strict=True)) > 1e-3


def test_shifted_weights_leave_no_trace():
    """At a rate of 0: metrics, batch statistics and random state are those of a run without SAM, weights unchanged."""

    def network():
        body = [
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4, seed=7),
            layers.Dense(1),
        ]
        return keras.Sequential([keras.Input((4,)), *body])

    first, second = network(), network()
    second.set_weights(first.get_weights())
    for seed in (first, second):  # both start with the same masks
        seed.layers[2].seed_generator.state.assign(np.array([7, 0], "uint32"))
    first.compile(optimizers.SGD(0.0), "mse", metrics=["mae"])
    x, y = problems.data()
    plain = first.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    sam = kopt.SAM(second, 0.5)
    sam.compile(optimizers.SGD(0.0), "mse", metrics=["mae"])
    seen = sam.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    for metric in ("loss", "mae"):
        np.testing.assert_allclose(seen[metric], plain[metric], rtol=1e-6)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=1e-6)


@pytest.mark.parametrize("every", [1, 2])
def test_saved_and_resumed_equals_uninterrupted(every, tmp_path):
    sam = fitted(problems.functional(), {"rho": 0.2, "every": every}, 1, optimizer=optimizers.AdamW(0.05))
    sam.save(tmp_path / "sam.keras")
    problems.fit(sam)
    loaded = keras.models.load_model(tmp_path / "sam.keras")
    assert isinstance(loaded, kopt.SAM)
    assert (loaded.rho, loaded.every, loaded.alpha, loaded.adaptive) == (0.2, every, 0.7, False)
    problems.fit(loaded)
    problems.assert_same(problems.values(loaded.variables), problems.values(sam.variables))
    problems.assert_same(problems.values(loaded.optimizer.variables), problems.values(sam.optimizer.variables))


def test_the_model_itself_is_trained_and_can_be_saved_without_sam(tmp_path):
    model = problems.sequential()
    sam = fitted(model, {"rho": 0.2})
    model.save(tmp_path / "model.keras")
    x, _ = problems.data()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), sam.predict(x, verbose=0))


class WithUnusedWeight(layers.Dense):
    def build(self, input_shape):
        self.unused = self.add_weight(shape=(2,), name="unused")
        super().build(input_shape)


@pytest.mark.parametrize("every", [1, 2])
def test_a_variable_without_gradient_stays(every):
    model = keras.Sequential([keras.Input((4,)), WithUnusedWeight(3), layers.Dense(1)])
    before = keras.ops.convert_to_numpy(model.layers[0].unused)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")  # JAX has one: it is 0
        fitted(model, {"rho": 0.2, "every": every}, run_eagerly=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.layers[0].unused), before)


@pytest.mark.parametrize("every", [1, 2])
def test_loss_scale_is_divided_out(every):
    scaled, plain = problems.sequential(), problems.sequential()
    optimizer = keras.optimizers.LossScaleOptimizer(optimizers.SGD(RATE, momentum=0.8), 64.0)
    fitted(scaled, {"rho": 0.2, "every": every}, optimizer=optimizer)
    fitted(plain, {"rho": 0.2, "every": every})
    problems.assert_close(scaled.get_weights(), plain.get_weights())


def test_mixed_precision_stays_finite():
    with policy("mixed_bfloat16"):
        sam = fitted(problems.sequential(), {"rho": 0.2, "every": 2}, run_eagerly=True)
    assert all(np.isfinite(w).all() for w in sam.get_weights())


def test_the_gradients_that_tensorboard_logs_are_those_that_the_optimizer_got(tmp_path):
    x, y = problems.data()
    logged = {}
    for name in ("sam", "plain"):
        model = linear()
        trained = kopt.SAM(model, 0.5) if name == "sam" else model
        start = model.get_weights()
        trained.compile(optimizers.SGD(RATE), "mse")
        board = kopt.callbacks.TensorBoard(str(tmp_path / name), gradients=1)
        trained.fit(x, y, batch_size=12, epochs=1, shuffle=False, verbose=0, callbacks=[board])
        logged[name] = board.latest["gradients/global_norm"]
    g = gradient(x, y, *start)
    shifted = [p + 0.5 * a / norm(g) for p, a in zip(start, g, strict=True)]
    np.testing.assert_allclose(logged["plain"], norm(g), rtol=1e-5)
    np.testing.assert_allclose(logged["sam"], norm(gradient(x, y, *shifted)), rtol=1e-5)


def test_it_is_named_after_its_model_or_as_said():
    model = linear()
    assert [kopt.SAM(model).name, kopt.SAM(model, name="mine").name] == [f"sam_{model.name}", "mine"]


class Stubborn(keras.Model):
    def train_step(self, *args):
        return super().train_step(*args)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kopt.SAM("model"), "`model` must be a keras.Model. Received: model='model'"),
        (lambda: kopt.SAM(linear(), 0.0), "`rho` must be a finite number > 0. Received: rho=0.0"),
        (lambda: kopt.SAM(linear(), every=0), "`every` must be an integer >= 1. Received: every=0"),
        (lambda: kopt.SAM(linear(), alpha=-1), "`alpha` must be a finite number >= 0. Received: alpha=-1"),
        (lambda: kopt.SAM(linear(), adaptive="yes"), "`adaptive` must be True or False. Received: adaptive='yes'"),
        (
            lambda: kopt.SAM(Stubborn()),
            "`model` must be a model without a `train_step` of its own. Received: .*Stubborn",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_looksam_keeps_stays_orthogonal_to_tiny_gradients():
    model = kopt.SAM(linear(), every=2)
    rng = np.random.default_rng(0)
    g, s = (rng.normal(size=(4,)).astype("float32") for _ in range(2))
    _, (kept,) = model.combined([ops.convert_to_tensor(1e-7 * g)], [ops.convert_to_tensor(1e-7 * s)])
    across = s - (s @ g) / (g @ g) * g
    np.testing.assert_allclose(ops.convert_to_numpy(kept), across / np.linalg.norm(across), rtol=1e-4, atol=1e-4)
