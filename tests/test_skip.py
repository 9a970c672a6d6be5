"""Does a step that is not finite leave no trace, and is a run that only skips stopped?"""

import threading
from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import ops

from kopt import callbacks, optimizers, transforms
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled

MAKERS = {
    "sgd": lambda **k: optimizers.SGD(0.05, momentum=0.9, **k),
    "adamw": lambda **k: optimizers.AdamW(0.05, weight_decay=0.1, **k),
    "muon": lambda **k: optimizers.Muon(0.05, **k),
    "soap": lambda **k: optimizers.SOAP(0.05, precondition_frequency=2, **k),
    "prodigy": lambda **k: optimizers.Prodigy(d0=1e-3, **k),
    "schedule_free": lambda **k: optimizers.ScheduleFreeAdamW(0.05, warmup_steps=2, **k),
    "lookahead": lambda **k: optimizers.AdamW(0.05, after=[transforms.Lookahead(2)], **k),
    "group": lambda **k: optimizers.AdamW(0.05, groups=[optimizers.Group("bias", transforms=[])], **k),
}
BEFORE = {"before": [transforms.SkipNonFinite()]}


def spoiled(arrays, value, last_only=True):
    """Returns gradients of which one element is not finite."""
    arrays = [np.array(array) for array in arrays]
    arrays[-1].flat[0] = value
    return arrays


def steps(optimizer, gradients):
    variables = problems.variables()
    for gradient in gradients:
        optimizer.apply(problems.tensors(gradient), variables)
    return variables


def own(optimizer):
    """Returns the state of what is skipped, and all other state."""
    found = list(zip(optimizer._plan.layout, problems.values(optimizer.slot_variables), strict=True))
    guards = optimizer._plan.guards
    return [v for k, v in found if k.stage in guards], [v for k, v in found if k.stage not in guards]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_bad_step_leaves_no_trace(make, value):
    good = [problems.gradients(n) for n in range(4)]
    plain, skipping = make(), make(before=[transforms.SkipNonFinite()])
    expected = steps(plain, good)
    # In front of the first, where state that copies weights starts, and between two.
    seen = steps(skipping, [spoiled(good[3], value), *good[:2], spoiled(good[0], value), *good[2:]])
    problems.assert_same(problems.values(seen), problems.values(expected))
    problems.assert_same(own(skipping)[1], problems.values(plain.slot_variables))
    assert float(ops.convert_to_numpy(skipping.estimates["skipped_steps"])) == 2


def test_behind_the_recipe_it_sees_what_the_recipe_made():
    huge = [np.full_like(g, 3e38) for g in problems.gradients(0)]  # finite, but not its square
    optimizer = optimizers.AdamW(0.05, after=[transforms.SkipNonFinite()], before=[transforms.Scale(1e3)])
    problems.assert_same(problems.values(steps(optimizer, [huge])), problems.start_values())
    assert float(ops.convert_to_numpy(optimizer.estimates["skipped_steps"])) == 1


def test_two_guards_count_a_step_once():
    chain = {"before": [transforms.SkipNonFinite()], "after": [transforms.SkipNonFinite()]}
    optimizer = MAKERS["adamw"](**chain)
    good = [problems.gradients(n) for n in range(3)]
    seen = steps(optimizer, [good[0], spoiled(good[0], np.nan), *good[1:]])
    problems.assert_same(problems.values(seen), problems.values(steps(MAKERS["adamw"](), good)))
    counts = {tag: float(ops.convert_to_numpy(value)) for tag, value in optimizer.estimates.items()}
    assert counts == {"skipped_steps": 1, "skipped_steps_2": 0}


def test_patience_ends_with_the_name_of_the_variable():
    optimizer = optimizers.SGD(0.1, before=[transforms.SkipNonFinite(3)])
    good, variables = problems.gradients(0), problems.variables()
    bad = spoiled(good, np.nan)
    for gradient in (bad, bad, good, bad, bad):
        optimizer.apply(problems.tensors(gradient), variables)
    before = problems.values(variables)
    with pytest.raises(FloatingPointError) as caught:
        optimizer.apply(problems.tensors(bad), variables)
    for words in ("3 steps in a row", "at step 6", "SkipNonFinite(patience=3)", variables[-1].path, "last finite step"):
        assert words in str(caught.value)
    problems.assert_same(problems.values(variables), before)
    optimizer.apply(problems.tensors(good), variables)  # Who catches the error may go on.


def test_the_average_of_keras_stays_too():
    good = [problems.gradients(n) for n in range(3)]
    options = {"use_ema": True, "ema_momentum": 0.7}
    plain, skipping = optimizers.AdamW(0.05, **options), optimizers.AdamW(0.05, **options, **BEFORE)
    steps(plain, good)
    steps(skipping, [*good[:2], spoiled(good[0], np.nan), good[2]])
    for a, b in zip(skipping._moving_averages(), plain._moving_averages(), strict=True):
        problems.assert_same(problems.values([a]), problems.values([b]))


def test_one_bad_batch_spoils_an_accumulated_step():
    optimizer = optimizers.AdamW(0.05, gradient_accumulation_steps=2, before=[transforms.SkipNonFinite()])
    good = [problems.gradients(n) for n in range(2)]
    plain = steps(optimizers.AdamW(0.05, gradient_accumulation_steps=2), good)
    seen = steps(optimizer, [good[0], spoiled(good[1], np.nan), *good])
    problems.assert_same(problems.values(seen), problems.values(plain))


@pytest.fixture
def stuck(tmp_path):
    """A model after an epoch of sound data; more of it is NaN."""
    model = compiled(problems.sequential(), optimizers.AdamW(0.05, before=[transforms.SkipNonFinite(3)]))
    problems.fit(model)
    return model


def fit_on_nan(model, **options):
    x, y = problems.data()
    with pytest.raises(FloatingPointError) as caught:
        model.fit(np.full_like(x, np.nan), y, batch_size=4, epochs=3, verbose=0, **options)
    return str(caught.value)


def test_a_compiled_fit_ends_with_the_weights_that_it_had(stuck, tmp_path):
    before = Numbers.of(stuck).weights
    assert stuck.trainable_variables[0].path in fit_on_nan(stuck)
    problems.assert_same(Numbers.of(stuck).weights, before)
    skipped = float(ops.convert_to_numpy(stuck.optimizer.estimates["skipped_steps"]))
    assert skipped >= 3
    stuck.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(ops.convert_to_numpy(loaded.optimizer.estimates["skipped_steps"])) == skipped
    problems.fit(stuck)  # on sound data
    assert not np.array_equal(Numbers.of(stuck).weights[0], before[0])


@pytest.mark.parametrize("make", [lambda path: callbacks.TensorBoard(path, gradients=2)])
def test_a_kopt_callback_stops_a_compiled_fit_at_once(stuck, make, tmp_path):
    message = fit_on_nan(stuck, callbacks=[make(tmp_path)])
    assert message.startswith("3 steps in a row")


def test_the_state_is_read_in_the_thread_that_trains(tmp_path):
    # Keras calls what a callback does behind a batch from another thread, while the next step runs.
    class Watched(optimizers.ScheduleFreeAdamW):
        threads: ClassVar[set] = set()

        def look_back(self):
            self.threads.add(threading.current_thread())
            super().look_back()

    model = compiled(problems.sequential(), Watched(0.05, before=[transforms.SkipNonFinite(3)]))
    for callback in (callbacks.TensorBoard(str(tmp_path)), callbacks.AveragedWeights()):
        problems.fit(model, callbacks=[callback])
    assert Watched.threads == {threading.main_thread()}


def test_averaged_weights_stops_a_compiled_fit_at_once():
    model = compiled(problems.sequential(), optimizers.ScheduleFreeAdamW(before=[transforms.SkipNonFinite(3)]))
    assert fit_on_nan(model, callbacks=[callbacks.AveragedWeights()]).startswith("3 steps in a row")


@pytest.mark.parametrize(
    ("bad", "message"), [(1, r"first in a\. "), (2, r"first in a and 1 other"), (3, r"a and 2 other")]
)
def test_the_error_says_how_many_variables_are_not_finite(bad, message):
    variables = [keras.Variable([1.0], name=name) for name in "abc"]
    gradients = [ops.convert_to_tensor([np.nan if i < bad else 1.0]) for i in range(3)]
    with pytest.raises(FloatingPointError, match=message):
        optimizers.SGD(0.1, before=[transforms.SkipNonFinite(patience=1)]).apply(gradients, variables)
