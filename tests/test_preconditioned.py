"""What SOAP and Shampoo do where the catalogue's rows cannot say it: when they decompose, and what does not matter."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops
from test_parity import assert_same_path, problem, trained

from kopt import optimizers
from kopt.testing import problems

SHAPES = {"dense": (4, 3), "twin": (4, 3), "square": (3, 3), "bias": (3,)}
MAKERS = {
    "SOAP": lambda **changes: optimizers.SOAP(0.02, 0.8, 0.9, 1e-2, 0.0, precondition_frequency=4, **changes),
    "Shampoo": lambda **changes: optimizers.Shampoo(
        0.02, 0.8, 0.9, 1e-2, block_size=2, precondition_frequency=4, start_preconditioning_step=1, **changes
    ),
}
DECOMPOSITIONS = {"eigh", "qr", "geqrf", "householder_product", "SelfAdjointEigV2", "Qr"}
each_method = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="reads a jaxpr")
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads a graph of TensorFlow")
on_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="counts calls of torch.linalg")


def built(optimizer, shapes=SHAPES):
    variables = [keras.Variable(x, name=name) for x, name in zip(problem(shapes)[0], shapes, strict=True)]
    optimizer.build(variables)
    return variables


def primitives(jaxpr, is_inside=False):
    """Yields the name of each operation of a jaxpr, and whether it is inside a branch of a condition."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, is_inside
        inner = is_inside or equation.primitive.name == "cond"
        for value in equation.params.values():
            for part in value if isinstance(value, list | tuple) else [value]:
                if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                    yield from primitives(getattr(part, "jaxpr", part), inner)


@on_jax
@each_method
@pytest.mark.parametrize("steps", [None, 2])
def test_jax_decomposes_inside_of_conditions_only(make, steps):
    import jax

    optimizer = make(gradient_accumulation_steps=steps)
    variables = built(optimizer)
    values, state = [v.value for v in variables], [v.value for v in optimizer.variables]
    jaxpr = jax.make_jaxpr(optimizer.stateless_apply)(state, values, values)
    found = [(name, is_inside) for name, is_inside in primitives(jaxpr.jaxpr) if name in DECOMPOSITIONS]
    assert found
    assert all(is_inside for _, is_inside in found)
    if steps:  # all of the arithmetic waits for the last micro-batch
        assert all(is_inside for name, is_inside in primitives(jaxpr.jaxpr) if name in ("dot_general", "sqrt"))


@on_tensorflow
@each_method
def test_tensorflow_decomposes_inside_of_conditions_only(make):
    import tensorflow as tf

    optimizer = make()
    variables = built(optimizer)
    gradients = [tf.convert_to_tensor(g) for g in problem(SHAPES)[1][0]]
    graph = tf.function(lambda: optimizer.apply(gradients, variables), autograph=False).get_concrete_function().graph
    assert not {node.op for node in graph.as_graph_def().node} & DECOMPOSITIONS
    functions = {f.signature.name: f for f in graph.as_graph_def().library.function}
    assert {node.op for f in functions.values() for node in f.node_def} & DECOMPOSITIONS
    branches = [node for node in graph.as_graph_def().node if node.op in ("If", "StatelessIf")]
    assert branches
    assert not any(
        name in str(node.attr) for node in graph.as_graph_def().node if node not in branches for name in functions
    )


@on_torch
@each_method
@pytest.mark.parametrize("steps", [None, 2])
def test_torch_decomposes_at_every_fourth_step_only(make, steps, monkeypatch):
    import torch

    calls = []
    for name in ("eigh", "qr"):
        original = getattr(torch.linalg, name)
        monkeypatch.setattr(torch.linalg, name, lambda *a, f=original, **k: calls.append(1) or f(*a, **k))
    optimizer, counts = make(gradient_accumulation_steps=steps), []
    variables = built(optimizer)
    for gradients in problem(SHAPES)[1][:18]:
        calls.clear()
        optimizer.apply(problems.tensors(gradients), variables)
        counts.append(len(calls))
    busy = [step for step, count in enumerate(counts) if count]
    assert busy == ([1, 9, 17] if steps else [0, 4, 8, 12, 16])


@each_method
def test_attention_has_the_matrices_that_it_multiplies_by(make):
    layer = keras.layers.MultiHeadAttention(2, 3, name="attention")
    layer.build((None, 5, 4), (None, 5, 4))
    kernels = [variable for variable in layer.trainable_variables if variable.name == "kernel"]
    assert [tuple(kernel.shape) for kernel in kernels] == [(4, 2, 3)] * 3 + [(2, 3, 4)]
    optimizer = make()
    optimizer.build(kernels)
    shapes = [tuple(slot.shape) for slot in optimizer.slot_variables if "momentum" in slot.name]
    assert shapes == [(4, 6)] * 3 + [(6, 4)]
    gradients = problem({"a": (4, 6), "b": (4, 6), "c": (4, 6), "d": (6, 4)})[1][:6]
    start = [np.reshape(ops.convert_to_numpy(kernel), shape) for kernel, shape in zip(kernels, shapes, strict=True)]
    matrices = trained(make(), start, gradients, ["a", "b", "c", "d"])
    for step in gradients:
        own = [np.reshape(g, kernel.shape) for g, kernel in zip(step, kernels, strict=True)]
        optimizer.apply(problems.tensors(own), kernels)
    flat = [np.reshape(x, shape) for x, shape in zip(problems.values(kernels), shapes, strict=True)]
    problems.assert_close(flat, matrices[-1])


def test_signs_and_order_of_the_eigenvectors_change_no_step():
    gradients = problem(SHAPES)[1]
    plain, turned = MAKERS["SOAP"](), MAKERS["SOAP"]()
    variables, others = built(plain), built(turned)
    for step, gradient in enumerate(gradients[:12]):
        plain.apply(problems.tensors(gradient), variables)
        turned.apply(problems.tensors(gradient), others)
        problems.assert_close(problems.values(others), problems.values(variables))
        if step == 5:
            _mirror(turned)


def _mirror(optimizer):
    """Reverses the columns of each basis, with the entries of v, and changes the sign of every second one."""
    slots = {slot.name: slot for slot in optimizer.slot_variables}
    for name, slot in slots.items():
        if name.endswith("basis"):
            q = ops.convert_to_numpy(slot)[:, ::-1]
            slot.assign(q * np.where(np.arange(q.shape[1]) % 2, 1.0, -1.0))
            v = slots[name.replace("left_basis", "velocity").replace("right_basis", "velocity")]
            v.assign(np.flip(ops.convert_to_numpy(v), axis=0 if "left" in name else 1).copy())


def test_the_first_bases_are_orthonormal_and_begin_with_singular_vectors():
    shapes = {"tall": (6, 4), "wide": (3, 7), "square": (5, 5)}
    optimizer, gradients = MAKERS["SOAP"](), problem(shapes)[1][0]
    trained(optimizer, problem(shapes)[0], [gradients], shapes)
    slots = {slot.name: ops.convert_to_numpy(slot) for slot in optimizer.slot_variables}
    for name, g in zip(shapes, gradients, strict=True):
        left, right = slots[f"{name}_left_basis"], slots[f"{name}_right_basis"]
        for q in (left, right):
            np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-6)
        values = np.linalg.svd(g, compute_uv=False)
        np.testing.assert_allclose(left.T @ g @ right, _diagonal(values, g.shape), atol=1e-5 * values[0])


def _diagonal(values, shape):
    matrix = np.zeros(shape)
    np.fill_diagonal(matrix, values)
    return matrix


@each_method
def test_a_variable_may_get_its_first_gradient_later(make):
    shapes = {"early": (4, 3), "late": (4, 3)}
    start, gradients = problem(shapes)
    optimizer = make()
    variables = built(optimizer, shapes)
    for step, (early, late) in enumerate(gradients[:8]):
        with pytest.warns(UserWarning, match="Gradients do not exist") if step < 2 else contextlib.nullcontext():
            optimizer.apply([*problems.tensors([early]), None if step < 2 else problems.tensors([late])[0]], variables)
        late_value = problems.values(variables)[1]
        assert np.all(np.isfinite(late_value))
        if step < 2:
            np.testing.assert_array_equal(late_value, start[1])
    assert np.max(np.abs(late_value - start[1])) > 1e-2
    alone = trained(make(), start[:1], [step[:1] for step in gradients[:8]], ["early"])
    problems.assert_close(problems.values(variables)[:1], alone[-1])


@each_method
def test_numbers_that_are_not_finite_end_in_the_weights_not_in_an_error(make):
    start, gradients = problem(SHAPES)
    gradients[0][0][1, 1] = np.nan
    path = trained(make(), start, gradients[:3], SHAPES)
    assert np.isnan(path[-1][0]).any()
    assert all(np.isfinite(x).all() for x in path[-1][1:])


@each_method
def test_zeros_before_the_first_gradient_do_no_harm(make):
    start, gradients = problem(SHAPES)
    gradients = [[np.zeros_like(g) for g in gradients[0]]] * 2 + gradients[:12]
    path = trained(make(), start, gradients, SHAPES)
    assert_same_path(path[:2], [start] * 2, rtol=0, atol=0)
    assert all(np.isfinite(x).all() for x in path[-1])
    assert min(np.max(np.abs(x - x0)) for x, x0 in zip(path[-1], start, strict=True)) > 1e-2
