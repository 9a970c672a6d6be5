"""The learning-rate range test: what it suggests, what it refuses, and that it leaves no trace."""

import importlib
import subprocess
import sys

import event_files
import keras
import numpy as np
import probed
import pytest
from keras import ops

import kopt
from kopt import optimizers, schedules
from kopt.callbacks import LearningRateFinder
from kopt.probing import RangeTest
from kopt.testing import problems

BACKEND = keras.backend.backend()
QUICK = {"steps": 12, "lowest": 1e-4, "highest": 1.0}


def course(name, *, resumed, probe):
    """Trains, with or without a probe before two epochs; returns what changed at once, and all that came after."""
    x, y = probed.digits()
    model = probed.noisy(probed.OPTIMIZERS[name]())
    if resumed:
        model.fit(x, y, batch_size=32, epochs=1, verbose=0)
    before = probed.state(model)
    was_built = model.optimizer.built, model.train_function
    if probe:
        try:
            kopt.find_learning_rate(model, x, y, **QUICK)
        except ValueError as error:
            assert "No learning rate can be suggested" in str(error)  # noqa: PT017 - a resumed run may have learnt
    same = before, probed.state(model)
    assert was_built == (model.optimizer.built, model.train_function)
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0).history
    return same, [*probed.state(model), *map(np.array, history.values()), *probed.chance()]


@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize(
    "name", [n if n in probed.FAST else pytest.param(n, marks=pytest.mark.slow) for n in probed.OPTIMIZERS]
)
def test_a_probe_leaves_no_trace(name, resumed):
    if BACKEND == "jax" and "EMA" in name and resumed:
        pytest.skip("Keras fails at a second fit with use_ema=True on JAX: one buffer is donated twice")
    (before, after), probed_course = course(name, resumed=resumed, probe=True)
    problems.assert_same(before, after)
    problems.assert_same(probed_course, course(name, resumed=resumed, probe=False)[1])


def test_the_callback_leaves_no_trace_if_it_does_not_apply(tmp_path):
    x, y = probed.digits()
    ends = []
    for with_finder in (True, False):
        model = probed.noisy(keras.optimizers.Adam(1e-3))
        finder = LearningRateFinder(x, y, apply=False, log_dir=tmp_path, path=tmp_path / "deep" / "rates.png")
        model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[finder] if with_finder else [])
        ends.append([*probed.state(model), *probed.chance()])
        if with_finder:
            found = finder.found
    problems.assert_same(*ends)
    assert (tmp_path / "deep" / "rates.png").read_bytes().startswith(b"\x89PNG")
    board = tmp_path / "finder"
    assert event_files.scalars(board)["finder/valley"] == [(0, pytest.approx(found.valley))]
    ((step, pictures),) = event_files.images(board)["finder/range_test"]
    assert step == 0
    assert pictures[0].std() > 0
    assert str(found) in event_files.texts(board)["finder/suggestions"][0][1]


@pytest.mark.slow
def test_the_suggestion_trains():
    """The rate found is used, and better than ones a hundred times lower and higher."""
    x, y = probed.digits(512)
    finder = LearningRateFinder(x, y)
    model = probed.noisy(keras.optimizers.Adam(1e-6))
    model.fit(x, y, epochs=2, verbose=0, callbacks=[finder])
    rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
    assert rate == pytest.approx(finder.found.suggestion)
    assert rate == pytest.approx(finder.found.valley)
    ends = []
    for factor in (1.0, 1e-2, 1e2):
        other = probed.noisy(keras.optimizers.Adam(rate * factor))
        ends.append(other.fit(x, y, epochs=2, verbose=0).history["loss"][-1])
    assert ends[0] < min(ends[1:])


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.AdamW(schedules.Warmup(schedules.CosineDecay(0.5, 1.0, by="fraction"), 0.25, by="fraction")),
        pytest.param(
            lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.5, 3, 0.5)),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["kopt", "keras"],
)
def test_a_schedule_is_scaled_and_kept(make, tmp_path):
    x, y = probed.digits()
    model = probed.noisy(make())
    finder = LearningRateFinder(x, y, steps=30)
    model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[finder])
    rates = planned(model, 12)
    assert max(rates) == pytest.approx(finder.found.suggestion, rel=1e-5)
    assert rates[-1] < max(rates) / 3
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(planned(loaded, 12), rates)


def planned(model, steps):
    schedule = keras.saving.deserialize_keras_object(model.optimizer.get_config()["learning_rate"])
    return [float(ops.convert_to_numpy(schedule(step))) for step in range(steps)]


def test_a_trained_schedule_is_what_the_steps_follow():
    """A scaled schedule, not the one that was compiled before, moves the weights."""
    x, y = probed.digits()
    finder = LearningRateFinder(x, y, steps=40)
    model = probed.noisy(optimizers.SGD(schedules.Constant(1e-12)))
    start = model.get_weights()[0]
    model.fit(x, y, epochs=1, verbose=0, callbacks=[finder])
    assert np.abs(model.get_weights()[0] - start).max() > 1e-3


def curve(losses, **options):
    return RangeTest(np.geomspace(1e-6, 1.0, len(losses)), np.array(losses), **options)


def test_suggestions_of_a_known_curve():
    """Flat, then a straight fall of 1.2 over 12 rates, then up."""
    losses = [2.0] * 30 + [2.0 - 0.1 * i for i in range(1, 13)] + [0.8 + 0.5 * i for i in range(1, 8)]
    found = curve(losses, smoothing=0.0)
    assert found.fall == (29, 41)
    assert found.share == pytest.approx(0.6)
    assert found.valley == found.rates[37]
    assert found.minimum == pytest.approx(found.rates[41] / 10)
    assert found.rates[29] < found.steepest < found.rates[41]
    assert found.suggestion == found.valley
    assert curve(losses, smoothing=0.0, suggest="minimum").suggestion == found.minimum
    found.check()
    assert "* valley" in str(found)
    np.testing.assert_allclose(curve([4.0, 2.0], smoothing=0.5).smoothed, [4.0, (0.25 * 4 + 0.5 * 2) / 0.75])


def test_noise_alone_suggests_nothing():
    for seed in range(20):
        with pytest.raises(ValueError, match="No learning rate can be suggested"):
            curve(1 + 0.3 * np.random.default_rng(seed).normal(size=90)).check()


def test_a_curve_that_only_rises_suggests_nothing():
    with pytest.raises(ValueError, match=r"falls by 0\.0 % at most"):
        curve(np.linspace(1, 2, 40)).check()


def test_it_stops_where_the_loss_explodes():
    x, y = probed.digits()
    found = kopt.find_learning_rate(probed.noisy(keras.optimizers.SGD(1.0)), x, y, highest=1e6, steps=60)
    assert len(found.rates) < 60
    assert found.stopped.startswith("stopped")
    assert np.isfinite(found.losses).all()


def test_data_may_make_its_own_batches():
    x, y = probed.digits(64)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[32 * index : 32 * index + 32], y[32 * index : 32 * index + 32]

    found = kopt.find_learning_rate(probed.noisy("adam"), Batches(), **QUICK)
    assert len(found.rates) >= 5
    with pytest.raises(ValueError, match=r"`x` must be data that can be had again.*used up"):
        kopt.find_learning_rate(probed.noisy("adam"), iter([(x, y)]), **QUICK)
    with pytest.raises(ValueError, match="`y` must be None if `x` makes batches"):
        kopt.find_learning_rate(probed.noisy("adam"), Batches(), y, **QUICK)
    with pytest.raises(ValueError, match="`x` must be arrays with as many rows"):
        kopt.find_learning_rate(probed.noisy("adam"), x, y[:-1], **QUICK)


@pytest.mark.parametrize(
    "make",
    [
        optimizers.Prodigy,
        optimizers.DoG,
        optimizers.COCOB,
        optimizers.LBFGS,
        lambda: optimizers.SGD(1.0, after=[kopt.transforms.Mechanic()]),
        lambda: keras.optimizers.LossScaleOptimizer(optimizers.Prodigy()),
    ],
)
def test_optimizers_that_find_their_rate_are_refused(make):
    x, y = probed.digits(64)
    with pytest.raises(ValueError, match="`optimizer` must be one whose steps are as long as its learning rate"):
        kopt.find_learning_rate(probed.noisy(make()), x, y)


def test_models_that_cannot_be_probed_are_refused():
    x, y = probed.digits(64)
    model = keras.Sequential([keras.layers.Dense(10)])
    with pytest.raises(ValueError, match="compiled with an optimizer"):
        kopt.find_learning_rate(model, x, y)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`model` must be built"):
        kopt.find_learning_rate(model, x, y)
    broken = probed.noisy("sgd")
    broken.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match=r"is not finite after 0 steps"):
        kopt.find_learning_rate(broken, x, y)
    for wrong, rule in {
        "lowest": (0.0, "a finite number > 0"),
        "highest": (1e-9, "above `lowest`"),
        "steps": (9, "an integer >= 10"),
        "suggest": ("slide", "one of 'valley', 'steepest', 'minimum'"),
        "batch_size": (0, "an integer >= 1"),
    }.items():
        with pytest.raises(ValueError, match=f"`{wrong}` must be {rule[1]}"):
            kopt.find_learning_rate(broken, x, y, **{wrong: rule[0]})
    with pytest.raises(TypeError, match=r"no argument `step`\. Did you mean `steps`"):
        LearningRateFinder(x, y, step=3)


def test_a_probe_that_fails_leaves_no_trace():
    x, y = probed.digits(64)
    model = probed.noisy(keras.optimizers.Adam(1e-3))
    model.fit(x, y, verbose=0)
    before, function = probed.state(model), model.train_function
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        kopt.find_learning_rate(model, x[:, :5], y, **QUICK)
    problems.assert_same(before, probed.state(model))
    assert model.train_function is function
    model.fit(x, y, verbose=0)


@pytest.mark.slow
def test_loss_scaling_is_kept():
    x, y = probed.digits(128)
    model = probed.noisy(keras.optimizers.LossScaleOptimizer(optimizers.AdamW(1e-3), initial_scale=8.0))
    model.fit(x, y, verbose=0)
    before = probed.state(model)
    assert kopt.find_learning_rate(model, x, y, steps=40).suggestion > 1e-4
    problems.assert_same(before, probed.state(model))


@pytest.mark.skipif(BACKEND != "torch", reason="no backend is involved: once is enough")
def test_without_matplotlib_the_picture_says_what_to_install():
    code = "import sys; sys.modules['matplotlib'] = None; import numpy as np; from kopt.probing import RangeTest\n"
    code += "RangeTest(np.arange(1, 5.0), np.arange(4.0)).plot()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "keras-kopt[recipes]"' in ran.stderr
    assert importlib.util.find_spec("matplotlib")
