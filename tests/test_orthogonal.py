"""Matrix methods: what they cost under compilation, and whether kernels of one shape may be computed in one batch."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from test_parity import assert_same_path, problem, trained

from kopt import optimizers, transforms
from kopt._core.layout import matrix_shape
from kopt.optimizers.partition import hidden_matrices
from kopt.testing import problems

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="counts operations in JAX's programs")

SHAPES = {"one_kernel": (4, 3), "two_kernel": (4, 3), "other_kernel": (3, 4), "three_kernel": (4, 3)}


def muon(**changes):
    return optimizers.Muon(**{"learning_rate": 0.05, "matrices": "kernel", **changes})


def kron(**changes):
    return optimizers.Kron(**{"learning_rate": 0.05, "beta_1": 0.5, "precondition_frequency": 3, **changes})


@pytest.mark.parametrize("make", [muon, kron])
def test_kernels_of_one_shape_train_as_if_they_were_apart(make):
    start, gradients = problem(SHAPES)
    together = trained(make(), start, gradients, SHAPES)
    apart = [trained(make(), [start[i]], [[step[i]] for step in gradients], [name]) for i, name in enumerate(SHAPES)]
    assert_same_path(together, [[path[t][0] for path in apart] for t in range(len(gradients))])


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_five_iterations_bring_singular_values_near_one(shape):
    g = np.random.default_rng(0).normal(size=shape).astype("float32")
    transform = transforms.OrthogonalizedMomentum(size="spectral", momentum=0.0, nesterov=False)
    h = {name: ops.convert_to_tensor(value, "float32") for name, value in transform.scalars(1.0, 1.0).items()}
    u, _ = transform.update(ops.convert_to_tensor(g), None, {"momentum": ops.zeros(shape)}, h)
    values = np.linalg.svd(ops.convert_to_numpy(u) / max(1, shape[1] / shape[0]) ** 0.5, compute_uv=False)
    assert 0.65 < values.min() <= values.max() < 1.25


def test_hidden_kernels_are_those_between_embedding_and_head():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Embedding(9, 8, name="table"),
            keras.layers.Conv1D(4, 3, name="convolution"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, name="hidden"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    optimizer = optimizers.Muon()
    optimizer.build(model.trainable_variables)
    rows = optimizer.get_config()["assignment"]["rows"]
    chosen = [row["path"].split("/", 1)[-1] for row in rows if row["chosen"]]
    assert chosen == ["convolution/kernel", "hidden/kernel"]
    shapes = {tuple(slot.shape) for slot in optimizer.slot_variables}
    assert (3 * 8, 4) in shapes


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([("kernel", (2, 2)), ("head/kernel", (3, 3))], [True, False]),
        ([("a/kernel", (1, 4)), ("b/kernel", (4, 1)), ("c/kernel", (2, 5)), ("head/kernel", (5, 3))], [0, 0, 1, 0]),
        (
            [("a/kernel", (3, 3)), ("head/kernel", (3, 3)), ("norm/kernel", (3,)), ("embedding/kernel", (3, 3))],
            [1, 0, 0, 0],
        ),
        ([("a/kernel", (3, 3)), ("kernels/b/mixing", (3, 3))], [False, True]),
    ],
    ids=["smallest", "vectors", "head_is_not_last", "named_by_the_last_part"],
)
def test_hidden_matrices(named, expected):
    class Named:
        def __init__(self, path, shape):
            self.path, self.shape = path, shape

    assert hidden_matrices([Named(*pair) for pair in named]) == [bool(is_chosen) for is_chosen in expected]


def test_attention_kernels_are_matrices_of_their_layer():
    layer = keras.layers.MultiHeadAttention(2, 3, name="attention")
    layer.build((None, 5, 8), (None, 5, 8))
    shapes = {v.path.split("/", 1)[-1]: matrix_shape(v) for v in layer.trainable_variables if len(v.shape) > 2}
    assert shapes == {
        "query/kernel": (8, 6),
        "key/kernel": (8, 6),
        "value/kernel": (8, 6),
        "attention_output/kernel": (6, 8),
    }


def primitives(jaxpr, inside=False):
    """Yields the name of each primitive of a JAX program, and whether it is in a branch that need not run."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, inside
        parts = [
            part for value in equation.params.values() for part in (value if isinstance(value, tuple) else [value])
        ]
        for part in parts:
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from primitives(inner, inside or equation.primitive.name == "cond")


def program(optimizer):
    """Returns the program of one call of `apply`."""
    import jax

    variables = problems.variables()
    optimizer.build(variables)
    values = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    return jax.make_jaxpr(optimizer.stateless_apply)(state, problems.tensors(problems.gradients(0)), values).jaxpr


def places(optimizer, primitive):
    """Returns for each use of a primitive in one call of `apply` whether it is in a branch that need not run."""
    return [is_inside for name, is_inside in primitives(program(optimizer)) if name == primitive]


@on_jax
@pytest.mark.parametrize("make", [muon, kron])
def test_micro_batches_run_no_matrix_products(make):
    found = places(make(gradient_accumulation_steps=2), "dot_general")
    assert found
    assert all(found)
    assert not all(places(make(), "dot_general"))


@on_jax
def test_factors_change_in_a_branch_of_their_own():
    found = places(kron(), "triangular_solve")
    assert len(found) == 3  # both factors of (4, 3), one of (3, 1)
    assert all(found)
    assert len([inside for inside in places(kron(), "dot_general") if not inside]) == 6


def test_factors_change_at_the_steps_that_are_said():
    optimizer, variables = kron(), problems.variables()
    seen = []
    for step in range(9):
        optimizer.apply(problems.tensors(problems.gradients(step)), variables)
        seen.append(np.concatenate([x.ravel() for x, v in state(optimizer) if "left" in v.name or "right" in v.name]))
    assert [bool(np.any(a != b)) for a, b in itertools.pairwise(seen)] == [False, False, True] * 2 + [False, False]


def state(optimizer):
    return [(np.array(ops.convert_to_numpy(v.value)), v) for v in optimizer.slot_variables]


def test_factors_change_more_rarely_by_and_by():
    transform = transforms.ScaleByKron()
    own = {"steps_since_change": ops.convert_to_tensor(1e9)}
    due = []
    for t in [*range(1, 4), *range(495, 1501), *range(9900, 10001)]:
        scalars = transform.scalars(ops.convert_to_tensor(float(t)), ops.convert_to_tensor(0.1))
        found, own = transform.shared([], [], [], own, {n: ops.convert_to_tensor(v) for n, v in scalars.items()})
        due += [t] if float(found["is_due"]) else []
    waits = dict(zip(due[1:], np.diff(due), strict=True))
    assert due[:3] == [1, 2, 3]
    assert all(waits[t] == 1 for t in range(496, 502))
    for t, wait in waits.items():
        if 501 < t <= 1500:
            assert wait == np.ceil(np.exp((t - 1 - 500) / 1000))
    assert {wait for t, wait in waits.items() if t > 9935} == {34}


def pure_steps(optimizer, variables, gradients):
    """Returns the values and the state after many pure steps, compiled where conditionals compile at each use."""
    optimizer.build(variables)
    step = optimizer.pure_step
    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(step)
    values, slots = ([ops.convert_to_tensor(v) for v in vs] for vs in (variables, optimizer.slot_variables))
    for t, gradient in enumerate(gradients):
        values, slots = step(values, problems.tensors(gradient, "float32"), slots, ops.convert_to_tensor(t))
    return problems.values(values), problems.values(slots)


def test_factors_stay_finite_without_gradients():
    optimizer = kron(precondition_frequency=1, precondition_learning_rate=1.0)
    seen = [problems.gradients(t) for t in range(3)] + [[0 * g for g in problems.gradients(0)]] * 300
    values, slots = pure_steps(optimizer, problems.variables(), seen)
    assert all(np.all(np.isfinite(x)) for x in values + slots)


def test_whitened_gradients_have_size_one_in_every_direction():
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(3, 3)), 100 * rng.normal(size=(4, 4))
    drawn = [[inputs @ rng.normal(size=(3, 4)) @ outputs] for _ in range(500)]
    optimizer = optimizers.Kron(0.0, beta_1=0.0, precondition_frequency=1)
    _, slots = pure_steps(optimizer, [keras.Variable(np.zeros((3, 4), "float32"), name="kernel")], drawn)
    left, right = (x for x in slots if x.shape in ((3, 3), (4, 4)))
    whitened = [(left.T @ left @ g @ right.T @ right).ravel() for (g,) in drawn]
    covariance = np.linalg.eigvalsh(np.cov(np.transpose(whitened)))
    assert 0.3 < covariance.min() <= covariance.max() < 3


@on_jax
def test_products_are_batched_over_kernels_of_one_shape():
    def products(names):
        import jax

        optimizer = muon(matrices="kernel")
        variables = [keras.Variable(np.ones((4, 3), "float32"), name=name) for name in names]
        optimizer.build(variables)
        slots = [slot.value for slot in optimizer.slot_variables]
        values = [v.value for v in variables]
        jaxpr = jax.make_jaxpr(optimizer.pure_step)(values, values, slots, 0).jaxpr
        return sum(name == "dot_general" for name, _ in primitives(jaxpr))

    assert products(["a_kernel"]) == products(["a_kernel", "b_kernel", "c_kernel"]) == 15
