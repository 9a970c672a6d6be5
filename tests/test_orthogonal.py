"""Matrix methods: what they cost under compilation, and whether kernels of one shape may be computed in one batch."""

import keras
import numpy as np
import pytest
from keras import ops
from test_parity import assert_same_path, problem, trained

from kopt import optimizers, transforms
from kopt._core.layout import matrix_shape
from kopt.testing import problems

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="counts operations in JAX's programs")

SHAPES = {"one_kernel": (4, 3), "two_kernel": (4, 3), "other_kernel": (3, 4), "three_kernel": (4, 3)}


def muon(**changes):
    return optimizers.Muon(**{"learning_rate": 0.05, "matrices": "kernel", **changes})


def test_kernels_of_one_shape_train_as_if_they_were_apart():
    start, gradients = problem(SHAPES)
    together = trained(muon(), start, gradients, SHAPES)
    apart = [trained(muon(), [start[i]], [[step[i]] for step in gradients], [name]) for i, name in enumerate(SHAPES)]
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


@on_jax
def test_micro_batches_run_no_matrix_products():
    found = [
        inside for name, inside in primitives(program(muon(gradient_accumulation_steps=2))) if name == "dot_general"
    ]
    assert found
    assert all(found)
    assert not any(inside for name, inside in primitives(program(muon())) if name == "dot_general")


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
