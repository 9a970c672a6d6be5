"""Do quantities give what a closed form gives? Quadratics with known Hessians, gradients with known noise."""

import math

import keras
import numpy as np
import pytest
import watched
from keras import ops

from kopt import monitoring, optimizers, schedules
from kopt.monitoring.direction import alpha_of

RATE, BATCH = 0.02, 8


def hessian(x):
    """The Hessian of the mean squared error of a linear model without a bias."""
    return 2 * x.T.astype("float64") @ x / len(x)


def batches(data, batch=BATCH):
    x, y = data
    return [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]


def walk(model, data, rate=RATE, batch=BATCH):
    """Yields (weights, gradient of each example) at each step of gradient descent, in float64."""
    w = ops.convert_to_numpy(model.layers[-1].kernel).astype("float64")
    for x, y in batches(data, batch):
        examples = 2 * x.astype("float64")[:, :, None] * (x @ w - y)[:, None, :]
        yield w.copy(), examples
        w -= rate * examples.mean(0)


def test_largest_eigenvalue_of_a_quadratic_and_the_edge_of_stability(tmp_path):
    data = watched.regression()
    seen, _ = watched.watched(tmp_path, [monitoring.Rates(), monitoring.HessianEigenvalue(tolerance=1e-7)])
    for step, (x, _) in enumerate(batches(data), start=1):
        values = np.linalg.eigvalsh(hessian(x))
        assert seen["curvature/largest_eigenvalue"][step] == pytest.approx(values[-1], rel=1e-4)
        assert seen["curvature/sharpness_times_learning_rate"][step] == pytest.approx(RATE * values[-1], rel=1e-4)


def test_both_ends_of_an_indefinite_spectrum():
    """A bilinear loss x'y has the eigenvalues 1 and -1 and no others: two iterations find both."""

    class Saddle:
        def __init__(self):
            self.before = [ops.ones((5,)), ops.ones((5,))]

        def hessian_product(self, direction):
            return [2.0 * direction[1], 2.0 * direction[0]]

    smallest, largest = monitoring.HessianEigenvalue().extremes(Saddle(), seed=3)
    assert (smallest, largest) == (pytest.approx(-2.0, rel=1e-5), pytest.approx(2.0, rel=1e-5))


def test_trace_of_a_quadratic(tmp_path):
    seen, _ = watched.watched(tmp_path, [monitoring.HessianTrace(samples=200)])
    for step, (x, _) in enumerate(batches(watched.regression()), start=1):
        error = seen["curvature/trace_standard_error"][step]
        off = hessian(x) - np.diag(np.diag(hessian(x)))
        # Of v' H v with random signs v.
        assert error == pytest.approx(math.sqrt(2 * (off**2).sum() / 200), rel=0.25)
        assert abs(seen["curvature/trace"][step] - np.trace(hessian(x))) < 4 * error


def test_trace_is_exact_where_the_hessian_is_diagonal(tmp_path):
    x = np.diag([3.0, 1.0, 0.5, 0.1]).astype("float32")
    data = (np.concatenate([x, x]), np.ones((8, 1), "float32"))
    seen, _ = watched.watched(tmp_path, [monitoring.HessianTrace(samples=2)], data=data)
    assert seen["curvature/trace"] == {1: pytest.approx(np.trace(hessian(data[0])), rel=1e-5)}
    assert seen["curvature/trace_standard_error"][1] == pytest.approx(0.0, abs=1e-4)


def test_penalties_and_activity_penalties_belong_to_the_curvature(tmp_path):
    penalties = {
        "kernel_regularizer": keras.regularizers.L2(0.5),
        "activity_regularizer": keras.regularizers.L2(0.25),
    }
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, **penalties)])
    seen, _ = watched.watched(tmp_path, [monitoring.HessianEigenvalue(tolerance=1e-7)], model=model)
    x, _ = batches(watched.regression())[0]
    # Keras divides the penalty of outputs by the batch: 2 * 0.25 / n * x'x.
    expected = np.linalg.eigvalsh(1.25 * hessian(x) + np.eye(4))[-1]
    assert seen["curvature/largest_eigenvalue"][1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("rate", "expected"), [(0.5, -0.5), (1.0, 0.0), (2.0, 1.0)])
def test_alpha_of_a_step_along_one_axis(tmp_path, rate, expected):
    """One weight, curvature 1: rate 1 lands at the minimum, 2 on the other side at the same height."""
    data = (np.full((8, 1), math.sqrt(0.5), "float32"), np.full((8, 1), 2.0, "float32"))
    optimizer = keras.optimizers.SGD(rate)
    seen, _ = watched.watched(
        tmp_path, [monitoring.Alpha()], model=watched.linear(inputs=1), data=data, optimizer=optimizer
    )
    assert seen["step/alpha"][1] == pytest.approx(expected, abs=1e-4)


def test_alpha_by_least_squares():
    assert alpha_of(1.0, -2.0, 0.0, 0.0) == pytest.approx(0.0)  # (s - 1)^2
    assert alpha_of(4.0, -4.0, 1.0, -2.0) == pytest.approx(-0.5)  # (s - 2)^2
    assert alpha_of(1.0, -1.0, 0.0, -1.0) == pytest.approx(-1.0)  # a straight line
    assert alpha_of(0.0, -1.0, -2.0, -3.0) == -1.0  # bent downwards: ever steeper
    assert alpha_of(0.0, 1.0, 1.0, 1.0) is None
    assert alpha_of(0.0, -1.0, math.inf, 1.0) is None


def expected_noise(examples, parts):
    """Unbiased |G|^2 and tr(S) of one example, from equal parts of a batch: the spread between their means."""
    b = len(examples) // parts
    means = examples[: b * parts].reshape(parts, b, -1).mean(1)
    variance = b * means.var(0, ddof=1).sum()
    return (means.mean(0) ** 2).sum() - variance / (b * parts), variance


@pytest.mark.parametrize(("parts", "smoothing"), [(4, 0.0), (3, 0.8)])
def test_noise_scale_from_parts_of_a_batch(tmp_path, parts, smoothing):
    data, model = watched.regression(), watched.linear()
    path = list(walk(model, data))
    seen, _ = watched.watched(tmp_path, [monitoring.NoiseScale(parts, smoothing)], model=model, data=data)
    averages = np.zeros(2)
    for step, (_, examples) in enumerate(path, start=1):
        squared, variance = expected_noise(examples, parts)
        averages = smoothing * averages + (1 - smoothing) * np.array([squared, variance])
        assert seen["noise/gradient_squared"][step] == pytest.approx(squared, rel=1e-4, abs=1e-4)
        assert seen["noise/variance"][step] == pytest.approx(variance, rel=1e-4)
        assert seen["noise/gradient_snr"][step] == pytest.approx(squared / variance, rel=1e-4, abs=1e-5)
        assert seen["gradient_snr/line/kernel"][step] == pytest.approx(squared / variance, rel=1e-4, abs=1e-5)
        critical = seen["noise/critical_batch_size"].get(step)
        assert critical == (pytest.approx(averages[1] / averages[0], rel=1e-4) if averages[0] > 0 else None)


def test_noise_scale_from_micro_batches(tmp_path):
    data, model, k = watched.regression(), watched.linear(), 4
    examples = next(walk(model, data, batch=32))[1]
    optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=k)
    seen, _ = watched.watched(tmp_path, [monitoring.NoiseScale()], model=model, data=data, optimizer=optimizer)
    last, others = examples[-BATCH:].mean(0), examples[:-BATCH].mean(0)
    assert seen["noise/gradient_squared"][1] == pytest.approx((last * others).sum(), rel=1e-4)
    variance = ((last - others) ** 2).sum() / (1 / BATCH + 1 / (3 * BATCH))
    assert seen["noise/variance"][1] == pytest.approx(variance, rel=1e-4)


def test_noise_scale_is_unbiased():
    """Gradients of known noise: the mean over many batches is |G|^2 and tr(S) of an example."""
    rng = np.random.default_rng(0)
    found = np.mean([expected_noise(rng.normal([1.0, -2.0], 3.0, (16, 2)), 4) for _ in range(20_000)], axis=0)
    assert found == pytest.approx([5.0, 18.0], rel=0.02)


def test_distance_and_cosines(tmp_path):
    data, model = watched.regression(), watched.linear()
    path = list(walk(model, data))
    monitor = [monitoring.Distance(), monitoring.Cosines(), monitoring.GlobalNorms()]
    seen, _ = watched.watched(tmp_path, monitor, model=model, data=data)
    gradients = [examples.mean(0).ravel() for _, examples in path]
    weights = [w for w, _ in path]
    for step in (1, 2, 3):
        distance = np.linalg.norm(weights[step] - weights[0])
        assert seen["distance/from_start"][step] == pytest.approx(distance, rel=1e-4)
        assert seen["distance_from_start/line/kernel"][step] == pytest.approx(distance, rel=1e-4)
        assert seen["updates/global_norm"][step] == pytest.approx(RATE * np.linalg.norm(gradients[step - 1]), rel=1e-4)
    assert 1 not in seen["gradients/cosine_to_last"]
    for step in (2, 3, 4):
        a, b = gradients[step - 2], gradients[step - 1]
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert seen["gradients/cosine_to_last"][step] == pytest.approx(cosine, abs=1e-4)
        assert seen["updates/cosine_to_last"][step] == pytest.approx(cosine, abs=1e-3)


def test_cosines_look_at_the_step_before_each_look_too(tmp_path):
    monitor = [monitoring.Cosines(when=monitoring.at([2, 4])), monitoring.Rates(when=monitoring.at([3]))]
    seen, _ = watched.watched(tmp_path, monitor)
    # Step 2 is looked at as the one before the third only if there is a look at the third.
    assert seen["gradients/cosine_to_last"].keys() == {2, 4}
    assert seen["learning_rate"].keys() == {3}


def test_activations(tmp_path):
    dense = keras.layers.Dense(3, "relu", name="rectified")
    bounded = keras.layers.Dense(2, "tanh", name="bounded")
    last = keras.layers.Dense(1, name="line")
    model = keras.Sequential([keras.Input((4,)), dense, bounded, keras.layers.Dropout(0.5), last])
    weights = model.get_weights()
    weights[0][:, 1], weights[1][1] = 0.0, -1.0  # Dead.
    weights[2] *= 30
    model.set_weights(weights)
    x, y = watched.regression(8)
    first = np.maximum(x @ weights[0] + weights[1], 0)
    second = np.tanh(first @ weights[2] + weights[3])
    seen, _ = watched.watched(tmp_path, [monitoring.Activations(margin=0.01)], model=model, data=(x, y))
    by_tag = {tag: points[1] for tag, points in seen.items()}
    assert by_tag["activations_mean/rectified"] == pytest.approx(first.mean(), rel=1e-5)
    assert by_tag["activations_std/rectified"] == pytest.approx(first.std(), rel=1e-5)
    assert by_tag["activations_dead_fraction/rectified"] == pytest.approx((first.max(0) == 0).mean())
    assert by_tag["activations_mean/bounded"] == pytest.approx(second.mean(), rel=1e-4)
    share = (np.abs(second) > 0.98).mean()
    assert 0 < share < 1
    assert by_tag["activations_saturated_fraction/bounded"] == pytest.approx(share)
    assert by_tag.keys() == {
        *(f"activations_{name}/rectified" for name in ("mean", "std", "dead_fraction")),
        *(f"activations_{name}/bounded" for name in ("mean", "std", "saturated_fraction")),
        *(f"activations_{name}/line" for name in ("mean", "std")),
    }


def test_losses_of_each_output(tmp_path):
    inputs = keras.Input((4,))
    outputs = {name: keras.layers.Dense(1, name=name, use_bias=False)(inputs) for name in ("left", "right")}
    model = keras.Model(inputs, outputs)
    x, y = watched.regression(8)
    left, right = (x @ ops.convert_to_numpy(model.get_layer(name).kernel) for name in ("left", "right"))
    data = (x, {"left": y, "right": 2 * y})
    options = {"loss": {"left": "mse", "right": "mse"}, "compiling": {"loss_weights": {"left": 1.0, "right": 0.5}}}
    seen, _ = watched.watched(tmp_path, [monitoring.Losses()], model=model, data=data, **options)
    one, other = ((left - y) ** 2).mean(), ((right - 2 * y) ** 2).mean()
    assert seen["loss/left"][1] == pytest.approx(one, rel=1e-5)
    assert seen["loss/right"][1] == pytest.approx(other, rel=1e-5)
    assert seen["loss/total"][1] == pytest.approx(one + other / 2, rel=1e-5)


def test_constants_of_optimizers_and_groups(tmp_path):
    groups = [optimizers.Group("line", weight_decay=0.25, name="slow")]
    chosen = {
        "kopt": optimizers.AdamW(schedules.CosineDecay(0.1, 9), beta_1=0.8, weight_decay=0.5, groups=groups),
        "keras": keras.optimizers.SGD(0.02, momentum=0.7),
    }
    for name, optimizer in chosen.items():
        seen, _ = watched.watched(tmp_path / name, [monitoring.Rates()], optimizer=optimizer)
        chosen[name] = {tag: points[4] for tag, points in seen.items() if tag.startswith("hyperparameters/")}
    assert chosen["kopt"] == {
        "hyperparameters/beta_1": 0.8,
        "hyperparameters/weight_decay": 0.5,
        "hyperparameters/weight_decay/slow": 0.25,
    }
    assert chosen["keras"] == {"hyperparameters/momentum": 0.7}


def test_the_first_non_finite_number_is_named(tmp_path):
    x, y = watched.regression()
    x[17] = np.nan  # In the third batch.
    finder = monitoring.FirstNonFinite()
    with pytest.warns(
        UserWarning, match=r"At step 3 the gradient of `line/kernel` held NaN .*at step 2 all was finite"
    ):
        seen, _ = watched.watched(tmp_path, [finder, monitoring.Losses()], data=(x, y))
    assert seen["nonfinite/first_step"] == {3: 3.0, 4: 3.0}
    assert (finder.found.step, finder.found.variable, finder.found.place) == (3, "line/kernel", "gradient")


def test_time_and_memory(tmp_path):
    seen, _ = watched.watched(tmp_path, [monitoring.Throughput(), monitoring.Memory()], epochs=2)
    times = seen["throughput/step_ms"]
    # Quick steps are waited for together, at the latest where an epoch ends.
    assert times.keys() >= {4, 8}
    for step, milliseconds in times.items():
        assert seen["throughput/examples_per_second"][step] == pytest.approx(BATCH / milliseconds * 1e3)
        assert 0 <= seen["throughput/data_wait_fraction"][step] <= 1
    assert all(size > 10 for size in seen["memory/host_mb"].values())
