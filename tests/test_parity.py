"""Is the mathematics right? Every row of the catalogue against NumPy in float64, and against optax and Keras."""

import inspect
from functools import partial

import catalog
import keras
import numpy as np
import oracles
import pytest
import references.first as reference
import torch_golden
from catalog import SHAPES
from keras import ops

from kopt import optimizers, schedules, transforms

STEPS = 20
# float32 rounds a weight of size 1 to within 6e-8; twenty times over, that is all that atol grants near 0.
RTOL, ATOL = 1e-5, 1.2e-6
CLIPS = {
    "clipvalue": reference.clipped_by_value,
    "clipnorm": reference.clipped_by_norm,
    "global_clipnorm": reference.clipped_by_global_norm,
}


def problem(shapes=SHAPES, seed=7):
    """Returns weights of size 1, and gradients of sizes from 1e-3 to 1e1 in random order, one list per step."""
    rng = np.random.default_rng(seed)
    scales = rng.permutation(np.geomspace(1e-3, 1e1, STEPS))
    start = [rng.normal(size=shape).astype("float32") for shape in shapes.values()]
    gradients = [[(s * rng.normal(size=shape)).astype("float32") for shape in shapes.values()] for s in scales]
    return start, gradients


def trained(optimizer, start, gradients, names=tuple(SHAPES)):
    """Returns the weights after each step of an optimizer with Keras' interface."""
    variables = [keras.Variable(x, name=name) for x, name in zip(start, names, strict=True)]
    path = []
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in step], variables)
        # A copy: torch would hand out a view of the weights.
        path.append([np.array(ops.convert_to_numpy(variable.value)) for variable in variables])
    return path


def reference_path(makers, start, gradients):
    """Returns the weights after each step of one reference per variable; `makers` is one for all, or one for each."""
    makers = makers if isinstance(makers, list) else [makers] * len(start)
    steppers, xs, path = [make() for make in makers], [x.astype("float64") for x in start], []
    for step in gradients:
        step = [g.astype("float64") for g in step]
        if getattr(steppers[0], "joint", False):
            xs = steppers[0].step(xs, step)
        else:
            xs = [ref.step(x, g) for ref, x, g in zip(steppers, xs, step, strict=True)]
        path.append(xs)
    return path


def optax_path(transformation, start, gradients):
    import jax.numpy as jnp
    import optax

    xs = [jnp.asarray(x) for x in start]
    state, path = transformation.init(xs), []
    for step in gradients:
        updates, state = transformation.update([jnp.asarray(g) for g in step], state, xs)
        xs = optax.apply_updates(xs, updates)
        path.append(xs)
    return path


def assert_same_path(path, expected, rtol=RTOL, atol=ATOL):
    assert len(path) == len(expected)
    for t, (xs, wanted) in enumerate(zip(path, expected, strict=True), start=1):
        for n, (x, y) in enumerate(zip(xs, wanted, strict=True)):
            np.testing.assert_allclose(x, np.asarray(y), rtol=rtol, atol=atol, err_msg=f"variable {n} after step {t}")


def rows(oracle=None):
    return [pytest.param(case, id=case.id) for case in catalog.CASES if oracle is None or oracle in case.oracles]


def path_of(case, start, gradients):
    return trained(case.make(), start, gradients, case.shapes)


@pytest.mark.parametrize("case", rows())
def test_equals_the_paper_in_float64(case):
    start, gradients = problem(case.shapes)
    make = partial(case.reference, **case.kwargs)
    path = path_of(case, start, gradients)
    assert_same_path(path, reference_path(make, start, gradients))
    moved = [np.max(np.abs(x - x0)) for x, x0 in zip(path[-1], start, strict=True)]
    assert min(moved) > 1e-3, f"A variable that hardly moves proves nothing. Moved: {moved}"


@pytest.mark.parametrize("case", rows("optax"))
def test_equals_optax(case):
    start, gradients = problem(case.shapes)
    expected = optax_path(case.oracles["optax"](**case.kwargs), start, gradients)
    assert_same_path(path_of(case, start, gradients), expected)


@pytest.mark.parametrize("case", rows("keras"))
def test_equals_keras(case):
    start, gradients = problem(case.shapes)
    expected = trained(case.oracles["keras"](**case.kwargs), start, gradients, case.shapes)
    assert_same_path(path_of(case, start, gradients), expected)


@pytest.mark.parametrize("case", rows("torch"))
def test_equals_the_stored_path_of_torch(case):
    start, gradients = problem(case.shapes)
    assert_same_path(path_of(case, start, gradients), torch_golden.stored(case))


def test_the_articles_worked_example():
    x = keras.Variable(1.0)
    optimizer = optimizers.SGD(0.1)
    values = []
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(2 * ops.convert_to_numpy(x.value))], [x])
        values.append(float(ops.convert_to_numpy(x.value)))
    np.testing.assert_allclose(values, [0.8, 0.64, 0.512], rtol=1e-6)


@pytest.mark.parametrize("keyword", CLIPS)
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_clipping(name, keyword):
    kwargs = {
        "SGD": {"learning_rate": 0.1, "momentum": 0.7},
        "AdamW": {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
    }[name]
    start, gradients = problem()
    path = trained(getattr(optimizers, name)(**kwargs, **{keyword: 0.5}), start, gradients)
    clipped = [CLIPS[keyword](step, 0.5) for step in gradients]
    changed = [any((a != b).any() for a, b in zip(*pair, strict=True)) for pair in zip(clipped, gradients, strict=True)]
    assert any(changed), "the limit binds at no step"
    assert not all(changed), "the limit binds at every step"
    assert_same_path(path, reference_path(partial(getattr(reference, name), **kwargs), start, clipped))
    if name == "SGD":
        assert_same_path(path, trained(keras.optimizers.SGD(**kwargs, **{keyword: 0.5}), start, gradients))


@pytest.mark.parametrize(("keyword", "oracle"), [("clipvalue", "clip"), ("global_clipnorm", "clip_by_global_norm")])
def test_clipping_equals_optax(keyword, oracle):
    import optax

    start, gradients = problem()
    path = trained(optimizers.SGD(0.1, 0.7, **{keyword: 0.5}), start, gradients)
    assert_same_path(
        path, optax_path(optax.chain(getattr(optax, oracle)(0.5), oracles.optax_sgd(0.1, 0.7)), start, gradients)
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_schedule_stands_outside_the_momentum_buffer(nesterov):
    import optax

    start, gradients = problem()
    schedule = schedules.CosineDecay(0.1, 15, 0.2)
    path = trained(optimizers.SGD(schedule, 0.8, nesterov=nesterov), start, gradients)
    make = partial(reference.SGD, lambda t: reference.cosine(t, 0.1, 15, 0.2), 0.8, nesterov)
    assert_same_path(path, reference_path(make, start, gradients))
    theirs = oracles.optax_sgd(optax.cosine_decay_schedule(0.1, 15, 0.2), 0.8, nesterov)
    assert_same_path(path, optax_path(theirs, start, gradients))


def test_a_schedule_moves_the_decay_with_the_rate():
    start, gradients = problem()
    kwargs = {"rho": 0.8, "momentum": 0.6, "epsilon": 1e-2, "weight_decay": 0.4}
    path = trained(optimizers.RMSprop(schedules.ExponentialDecay(0.05, 0.8), **kwargs), start, gradients)
    make = partial(reference.RMSprop, lambda t: 0.05 * 0.8**t, **kwargs)
    assert_same_path(path, reference_path(make, start, gradients))


def test_a_callable_rate_is_asked_at_every_step():
    start, gradients = problem()
    # JAX and TensorFlow run here without tracing, so that the callable is asked each time.
    rates = iter(np.linspace(0.01, 0.05, 2 * STEPS).tolist())
    seen = []
    optimizer = optimizers.SGD(lambda: seen.append(next(rates)) or seen[-1])
    path = trained(optimizer, start, gradients)
    assert len(seen) >= STEPS
    per_step = len(seen) // STEPS
    make = partial(reference.SGD, lambda t: seen[per_step * (t + 1) - 1])
    assert_same_path(path, reference_path(make, start, gradients))


def test_accumulation_averages_gradients_and_schedules_count_optimizer_steps():
    start, gradients = problem()
    gradients = gradients[:8]
    optimizer = optimizers.SGD(schedules.StepDecay(0.1, 2, 0.5), 0.6, weight_decay=0.1, gradient_accumulation_steps=2)
    averages = [[(a + b) / 2 for a, b in zip(*gradients[k : k + 2], strict=True)] for k in range(0, 8, 2)]
    make = partial(reference.SGD, lambda t: 0.1 * 0.5 ** (t // 2), 0.6, weight_decay=0.1)
    path = trained(optimizer, start, gradients)
    assert_same_path(path[:1], [start], rtol=0, atol=0)
    assert_same_path(path[1::2], reference_path(make, start, averages))


def test_groups_change_rate_decay_and_chain_and_one_norm_spans_them():
    start, gradients = problem()
    optimizer = optimizers.AdamW(
        0.03,
        0.8,
        0.95,
        1e-3,
        weight_decay=0.3,
        global_clipnorm=0.5,
        groups=[
            optimizers.Group("kernel", learning_rate=0.5),
            optimizers.Group("bias", weight_decay=0.1, transforms=[transforms.Momentum(0.6, nesterov=True)]),
        ],
    )
    makers = [
        partial(reference.AdamW, 0.015, 0.8, 0.95, 1e-3, weight_decay=0.3),
        partial(reference.SGD, 0.03, 0.6, True, weight_decay=0.1),
        partial(reference.AdamW, 0.03, 0.8, 0.95, 1e-3, weight_decay=0.3),
    ]
    clipped = [reference.clipped_by_global_norm(step, 0.5) for step in gradients]
    assert_same_path(trained(optimizer, start, gradients), reference_path(makers, start, clipped))


def test_a_frozen_group_stays_and_counts_in_no_norm():
    start, gradients = problem()
    optimizer = optimizers.SGD(0.1, global_clipnorm=0.5, groups=[optimizers.Group("bias", frozen=True)])
    still = [[a, np.zeros_like(b), c] for a, b, c in gradients]
    clipped = [reference.clipped_by_global_norm(step, 0.5) for step in still]
    path = trained(optimizer, start, gradients)
    assert_same_path(path, reference_path(partial(reference.SGD, 0.1), start, clipped))
    np.testing.assert_array_equal(path[-1][1], start[1])


def test_excluded_variables_do_not_decay():
    start, gradients = problem()
    optimizer = optimizers.SGD(0.1, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias|gain"])
    makers = [partial(reference.SGD, 0.1, weight_decay=decay) for decay in (0.3, 0.0, 0.0)]
    assert_same_path(trained(optimizer, start, gradients), reference_path(makers, start, gradients))


def test_clipping_before_and_after_stand_where_they_say():
    start, gradients = problem()
    optimizer = optimizers.SGD(
        0.1,
        0.6,
        weight_decay=0.3,
        clipvalue=0.6,
        before=[transforms.ClipByNorm(0.9)],
        after=[transforms.ClipByValue(0.4)],
    )

    class Reference(reference.SGD):
        def step(self, x, g):
            self.gradients += reference.clipped_by_norm(reference.clipped_by_value([g], 0.6), 0.9)
            (u,) = reference.clipped_by_value([reference.fading_sum(self.gradients, 0.6)], 0.4)
            return x - 0.1 * (u + 0.3 * x)

    path = trained(optimizer, start, gradients)
    assert_same_path(path, reference_path(partial(Reference, 0.1), start, gradients))


def test_after_on_the_step_stands_behind_the_rate():
    class HalfStep(transforms.Transform):
        acts_on = "step"

        def update(self, u, x, slots, h):
            return ops.minimum(u, 0.02), slots

    class Reference(reference.SGD):
        def step(self, x, g):
            return x - np.minimum(0.1 * (g + 0.3 * x), 0.02)

    start, gradients = problem()
    path = trained(optimizers.SGD(0.1, weight_decay=0.3, after=[HalfStep()]), start, gradients)
    assert_same_path(path, reference_path(partial(Reference, 0.1), start, gradients))


def test_a_global_norm_that_is_not_finite_is_not_hidden():
    start, gradients = problem()
    gradients[0][1][2] = np.inf
    after_one = trained(optimizers.SGD(0.1, global_clipnorm=0.5), start, gradients[:1])[0]
    assert all(np.isnan(x).all() for x in after_one)


def test_centered_rmsprop_survives_a_variance_that_rounds_below_zero():
    start, gradients = problem()
    constant = [[np.full_like(g, 0.3) for g in gradients[0]]] * 60
    path = trained(optimizers.RMSprop(1e-9, rho=0.5, epsilon=1e-12, centered=True), start, constant)
    assert all(np.isfinite(x).all() for xs in path for x in xs)


POPULATION = 8


def filled(slot, variable, decided):
    """Returns what a slot starts with; a copy of the weights is a weight of 0.5 here."""
    start = {"variable": 0.5, "decided": decided}.get(slot.start, slot.start)
    return np.full(variable.shape if slot.shape is None else slot.shape, start, "float32")


def one_pass(transform, updates, params, slots, own, h):
    """Returns what one step of a transform makes of all its variables."""
    common, own = transform.shared(updates, params, slots, own, h)
    pairs = [transform.update(u, x, s, h | common) for u, x, s in zip(updates, params, slots, strict=True)]
    return [u for u, _ in pairs], [state for _, state in pairs], own


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="jax.vmap needs Keras' ops on JAX")
@pytest.mark.parametrize(
    ("case", "make"),
    [
        pytest.param(case, make, id=f"{case.kind.__name__}{i}")
        for case in catalog.TRANSFORMS
        for i, make in enumerate(case.copies)
    ],
)
def test_a_population_in_one_vmap_equals_its_members(case, make):
    import jax
    import jax.numpy as jnp

    members = [make(k) for k in range(POPULATION)]
    rng = np.random.default_rng(3)

    def member(k, tree):
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[k]), tree)

    def random():
        return [rng.normal(size=(POPULATION, *shape)).astype("float32") for shape in case.shapes.values()]

    def scalars(k, t):
        h = members[k].scalars(jnp.float32(t), jnp.float32(0.01 * (k + 1)))
        assert all(jnp.shape(value) == () for value in h.values()), "scalars are 0-d"
        return {name: np.float32(value) for name, value in h.items()}

    # The first member stands in for all: what another's hyperparameters change must come in through `h`.
    together = jax.vmap(lambda *tensors: one_pass(members[0], *tensors))
    variables = [keras.Variable(np.zeros(shape), name=name) for name, shape in case.shapes.items()]

    def fresh(transform):
        decided = transform.decide(variables) or [None] * len(variables)
        pairs = list(zip(variables, decided, strict=True))
        states = [{slot.name: filled(slot, v, number) for slot in transform.slots(v)} for v, number in pairs]
        if transform.sees_gradient:
            signs = [np.resize(np.float32([1, -1, 1]), v.shape) for v in variables]
            states = [state | {"gradient": g} for state, g in zip(states, signs, strict=True)]
        own = {slot.name: np.full(slot.shape, slot.start, "float32") for slot in transform.own_slots()}
        return states, own

    separate = [fresh(transform) for transform in members]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *separate)
    for t in (1, 2, 3):
        h = [scalars(k, t) for k in range(POPULATION)]
        inputs = (random(), random(), *stacked, jax.tree.map(lambda *leaves: np.stack(leaves), *h))
        new, *stacked = together(*inputs)
        for k in range(POPULATION):
            updates, params, *_ = member(k, inputs)
            alone, *state = one_pass(members[k], updates, params, *separate[k], h[k])
            separate[k] = tuple(state)
            for name, u, v in zip(case.shapes, new, alone, strict=True):
                message = f"{name} of copy {k} at step {t}"
                np.testing.assert_allclose(np.asarray(u)[k], v, rtol=1e-6, atol=1e-6, err_msg=message)


def public(module, base):
    members = [getattr(module, name) for name in module.__all__]
    return {m for m in members if isinstance(m, type) and issubclass(m, base) and not inspect.isabstract(m)} - {base}


def test_every_public_class_has_a_row():
    assert {case.optimizer_class for case in catalog.CASES} == public(optimizers, optimizers.ComposedOptimizer)
    assert {case.schedule_class for case in catalog.SCHEDULE_CASES} == public(schedules, schedules.Schedule)
    assert {case.kind for case in catalog.TRANSFORMS if case.copies} == public(transforms, transforms.Transform)


@pytest.mark.parametrize("table", [catalog.CASES, catalog.SCHEDULE_CASES], ids=["optimizers", "schedules"])
def test_every_argument_differs_from_its_default_in_some_row(table):
    def is_default(kwargs, parameter):
        return kwargs.get(parameter.name, parameter.default) == parameter.default

    untested = set()
    for kind in {type(case.make()) for case in table}:
        parameters = inspect.signature(kind).parameters.values()
        rows_of_kind = [case.kwargs for case in table if type(case.make()) is kind]
        explicit = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        untested |= {(kind.__name__, p.name) for p in explicit if all(is_default(row, p) for row in rows_of_kind)}
    assert not untested
