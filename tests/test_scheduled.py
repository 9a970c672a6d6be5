"""Hyperparameters that follow schedules: every argument that may, against the run in which it is changed by hand."""

import inspect

import event_files
import keras
import numpy as np
import pytest
from catalog import CASES, TRANSFORMS
from compiling import by_compiler
from keras import ops

from kopt import callbacks, optimizers, schedules, transforms
from kopt._core.configured import Hyperparameter
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled, interrupted

STEPS = 8


def schedulable(kind):
    """Returns the arguments whose annotation admits a schedule."""
    parameters = inspect.signature(kind).parameters
    return [name for name, p in parameters.items() if p.annotation in (Hyperparameter, Hyperparameter | None)]


FAST = {"AdamW", "SGD", "Muon", "Prodigy"}


def rows():
    """Yields one row per argument of each optimizer and transform: a name, and how to make the optimizer."""
    seen = set()
    for case in sorted(CASES, key=lambda case: -len(case.kwargs)):
        for name in schedulable(case.optimizer_class):
            if (case.optimizer_class, name) not in seen:
                seen.add((case.optimizer_class, name))
                kind = case.optimizer_class.__name__
                marks = () if kind in FAST else pytest.mark.slow  # Transforms have rows of their own.
                yield pytest.param(case.make, name, id=f"{kind}-{name}", marks=marks)
    for case in TRANSFORMS:
        for name in schedulable(case.kind):
            if (case.kind, name) not in seen:
                seen.add((case.kind, name))

                def make(case=case, **changes):
                    return optimizers.Composed([case.kind(**{**case.kwargs, **changes})], 0.02)

                yield pytest.param(make, name, id=f"{case.kind.__name__}-{name}")


ROWS = list(rows())


def walked(make_at):
    """Returns the weights after each step, taken by the optimizer that `make_at` returns for it, with one state."""
    steps = [make_at(step) for step in range(STEPS)]
    for optimizer in steps:
        optimizer.build(problems.variables())
    return path_of([optimizer.pure_step for optimizer in steps], steps[0])


def walked_compiled(optimizer):
    """Returns the weights after each step of one optimizer, whose step is compiled once."""
    optimizer.build(problems.variables())
    return path_of([by_compiler(optimizer.pure_step, xla=False)] * STEPS, optimizer)


def path_of(steps, optimizer):
    params = problems.tensors(problems.start_values())
    slots = [ops.copy(ops.convert_to_tensor(slot)) for slot in optimizer.slot_variables]
    path = []
    for n, step in enumerate(steps):
        params, slots = step(params, problems.tensors(problems.gradients(n)), slots, ops.convert_to_tensor(n, "int32"))
        path.append([np.array(ops.convert_to_numpy(value)) for value in params])
    return path


def schedule_for(make, name):
    """Returns a schedule that begins where the row's argument is, if it is given there."""
    optimizer = make()
    given = [optimizer.arguments, *(transform.arguments for transform in optimizer._assignment.transforms())]
    start = next((arguments[name] for arguments in given if arguments.get(name)), 0.2)
    start, factor = (0.05, 8.0) if name == "epsilon" else (start, 1.5 if name == "eta_plus" else 0.5)
    return schedules.Linear(start, STEPS - 2, start * factor)


@pytest.mark.parametrize(("make", "name"), ROWS)
def test_a_schedule_equals_a_change_by_hand(make, name):
    schedule = schedule_for(make, name)
    numbers = [float(ops.convert_to_numpy(schedule(step))) for step in range(STEPS)]
    seen = walked_compiled(make(**{name: schedule}))
    expected = walked(lambda step: make(**{name: numbers[step]}))
    constant = walked(lambda step: make(**{name: numbers[0]}))
    for a, b in zip(seen, expected, strict=True):
        problems.assert_close(a, b, 3e-6)
    assert any((a != b).any() for x, y in zip(seen, constant, strict=True) for a, b in zip(x, y, strict=True))


def test_the_list_is_long():
    assert {"AdamW-beta_1", "SGD-momentum", "Lion-beta_2", "SGDW-weight_decay"} <= {row.id for row in ROWS}


@pytest.mark.parametrize("kind", [optimizers.AdamW, optimizers.LazyAdam, optimizers.Muon])
def test_weight_decay_follows_its_own_schedule(kind):
    decay = schedules.Linear(0.5, 4, 0.1)
    seen = walked_compiled(kind(0.05, weight_decay=decay))
    expected = walked(lambda step: kind(0.05, weight_decay=float(ops.convert_to_numpy(decay(step)))))
    for a, b in zip(seen, expected, strict=True):
        problems.assert_close(a, b)


def test_a_group_has_a_schedule_of_its_own():
    decay = schedules.Linear(0.5, 4, 0.1)

    def make(value):
        return optimizers.AdamW(0.05, weight_decay=0.2, groups=[optimizers.Group("first", weight_decay=value)])

    seen = walked_compiled(make(decay))
    expected = walked(lambda step: make(float(ops.convert_to_numpy(decay(step)))))
    for a, b in zip(seen, expected, strict=True):
        problems.assert_close(a, b)


def test_bias_correction_takes_the_beta_of_the_step_as_optax_does():
    optax = pytest.importorskip("optax")
    beta, start = schedules.Linear(0.9, 6, 0.6), problems.start_values()
    seen = walked_compiled(optimizers.Adam(0.02, beta_2=beta, epsilon=1e-3))
    scheduled = optax.inject_hyperparams(optax.adam)
    reference = scheduled(0.02, b2=lambda step: 0.9 - 0.3 * step / 6 if step <= 6 else 0.6, eps=1e-3)
    params, state = start, reference.init(start)
    for step in range(STEPS):
        updates, state = reference.update(problems.gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        problems.assert_close(seen[step], [np.asarray(p) for p in params], 3e-6)


def scheduled_optimizer(**options):
    return optimizers.AdamW(
        0.05,
        beta_1=schedules.Linear(0.9, 6, 0.6),
        weight_decay=schedules.CosineDecay(0.4, 8),
        groups=[optimizers.Group("bias", weight_decay=schedules.Constant(0.1))],
        **options,
    )


def test_schedules_survive_a_file_and_no_step_traces_again(tmp_path):
    seen = interrupted(compiled(problems.sequential(), scheduled_optimizer()), tmp_path / "model.keras")
    seen.resumed.assert_same(seen.went_on)
    saved, loaded = seen.configs
    assert loaded == saved
    if problems.traces():
        assert set(seen.counts) == {seen.counts[0]}


def test_accumulation_counts_optimizer_steps():
    x, y = problems.data()
    twice = np.repeat(np.arange(len(x)), 2)
    alone = compiled(problems.sequential(), scheduled_optimizer(), run_eagerly=True)
    accumulating = compiled(problems.sequential(), scheduled_optimizer(gradient_accumulation_steps=2), run_eagerly=True)
    alone.fit(x, y, batch_size=1, shuffle=False, verbose=0)
    accumulating.fit(x[twice], y[twice], batch_size=1, shuffle=False, verbose=0)
    problems.assert_close(Numbers.of(accumulating).weights, Numbers.of(alone).weights)


def test_fractions_of_the_run_are_resolved():
    optimizer = optimizers.AdamW(
        0.05,
        beta_1=schedules.Linear(0.9, 1.0, 0.5, by="fraction"),
        weight_decay=schedules.Linear(0.4, 0.5, by="fraction"),
    )
    assert list(optimizer.hyperparameter_schedules) == ["weight_decay", "beta_1"]
    schedules.resolve(optimizer, epochs=2, steps_per_epoch=10)
    assert {schedule.run_steps for schedule in optimizer.hyperparameter_schedules.values()} == {20}
    seen = compiled(problems.sequential(), optimizer)
    problems.fit(seen)


def test_tensorboard_shows_them(tmp_path):
    model = compiled(problems.sequential(), scheduled_optimizer())
    problems.fit(model, epochs=2, callbacks=[callbacks.TensorBoard(str(tmp_path), gradients=1)])
    logged = event_files.scalars(tmp_path / "train")
    expected = {"weight_decay": schedules.CosineDecay(0.4, 8), "beta_1": schedules.Linear(0.9, 6, 0.6)}
    expected["weight_decay/bias"] = schedules.Constant(0.1)
    steps = int(ops.convert_to_numpy(model.optimizer.iterations))
    for name, schedule in expected.items():
        values = schedules.preview(schedule, steps)
        points = logged.pop(f"hyperparameters/{name}")
        assert event_files.steps(points) == list(range(1, steps + 1))
        np.testing.assert_allclose([value for _, value in points], values, rtol=1e-6)
    assert not [tag for tag in logged if tag.startswith("hyperparameters/")]


def test_the_table_shows_the_decay_of_the_coming_step():
    optimizer = scheduled_optimizer()
    rows = {row.variable: row.weight_decay for row in optimizer.describe(problems.variables()).rows}
    assert rows == pytest.approx({"first/kernel": 0.4, "first/bias": 0.1, "second/kernel": 0.4, "second/bias": 0.1})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optimizers.SGD(0.1, momentum=schedules.Linear(0.9, 1000, 1.5)), "`momentum` must be .* at step 1000"),
        (lambda: optimizers.AdamW(beta_1=schedules.Linear), "`beta_1`"),
        (lambda: optimizers.AdamW(weight_decay=schedules.Linear), "`weight_decay` .* Call it"),
        (lambda: optimizers.ScheduleFreeAdamW(beta_1=schedules.Constant(0.9)), "`beta_1` must be a number"),
    ],
)
def test_what_cannot_be_a_hyperparameter_says_so(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_loaded_optimizer_keeps_the_schedule_of_a_transform(tmp_path):
    optimizer = optimizers.Composed([transforms.Momentum(schedules.Linear(0.9, 6, 0.5))], 0.05)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    (momentum,) = again._assignment.transforms()
    assert isinstance(momentum.scheduled["momentum"], schedules.Linear)
