"""Do lazy optimizers leave alone what a batch has not seen, and nothing else?"""

from functools import partial

import keras
import numpy as np
import pytest
import references.accumulators as reference
import references.first
from test_parity import assert_same_path, problem, reference_path, trained

from kopt import optimizers, transforms
from kopt.testing import problems

SHAPES = {"embeddings": (6, 4), "kernel": (4, 3), "embed_volume": (3, 2, 2), "bias": (3,)}
KWARGS = {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3}
UNSEEN = 5


def sparse_problem():
    """Returns weights and gradients; each row has a gradient at some steps only, row 5 of the first at none."""
    start, gradients = problem(SHAPES)
    rng = np.random.default_rng(11)
    for embeddings, kernel, volume, _ in gradients:
        embeddings[rng.random(6) < 0.5] = 0.0
        embeddings[UNSEEN] = 0.0
        kernel[rng.random(4) < 0.5] = 0.0
        volume[rng.random(3) < 0.5] = 0.0
        volume[:, 0, 0] = 0.0  # one entry that is 0 hides no row
    return start, gradients


def expected_path(start, gradients):
    lazy = partial(reference.LazyAdam, **KWARGS)
    return reference_path([lazy, partial(references.first.Adam, **KWARGS), lazy, lazy], start, gradients)


def test_equals_the_definition_in_float64():
    start, gradients = sparse_problem()
    path = trained(optimizers.LazyAdam(**KWARGS), start, gradients, SHAPES)
    assert_same_path(path, expected_path(start, gradients))
    np.testing.assert_array_equal(path[-1][0][UNSEEN], start[0][UNSEEN])
    assert np.all(np.abs(path[-1][0][:UNSEEN] - start[0][:UNSEEN]) > 1e-3)


def test_differs_from_adam_where_rows_are_missing():
    start, gradients = sparse_problem()
    lazy = trained(optimizers.LazyAdam(**KWARGS), start, gradients, SHAPES)[-1]
    plain = trained(optimizers.Adam(**KWARGS), start, gradients, SHAPES)[-1]
    assert [np.allclose(a, b) for a, b in zip(lazy, plain, strict=True)] == [False, True, False, True]


def test_equals_adam_bit_for_bit_where_every_row_is_seen():
    start, gradients = problem(SHAPES)
    lazy = trained(optimizers.LazyAdam(**KWARGS), start, gradients, SHAPES)
    plain = trained(optimizers.Adam(**KWARGS), start, gradients, SHAPES)
    for xs, ys in zip(lazy, plain, strict=True):
        problems.assert_same(xs, ys)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch is the oracle")
def test_equals_sparse_adam_of_torch():
    import torch

    start, gradients = sparse_problem()
    # Theirs adds epsilon before the bias correction.
    kwargs = {**KWARGS, "weight_decay": 0.0, "epsilon": 1e-12}
    path = trained(optimizers.LazyAdam(**kwargs), start, gradients, SHAPES)
    table = torch.nn.Parameter(torch.tensor(start[0], dtype=torch.float64))
    theirs, expected = torch.optim.SparseAdam([table], 0.03, (0.8, 0.95), 1e-12), []
    for step in gradients:
        table.grad = torch.tensor(step[0], dtype=torch.float64).to_sparse(1)
        theirs.step()
        expected.append([table.detach().numpy().copy()])
    assert_same_path([xs[:1] for xs in path], expected)


def test_rows_not_seen_keep_their_state():
    start, gradients = sparse_problem()
    variables = [keras.Variable(x, name=name) for x, name in zip(start, SHAPES, strict=True)]
    optimizer = optimizers.LazyAdam(**KWARGS)
    optimizer.build(variables)
    for step in gradients:
        before = problems.values(optimizer.slot_variables)
        optimizer.apply(problems.tensors(step), variables)
        unseen = ~step[0].any(axis=1)
        for slot, old in zip(optimizer.slot_variables, before, strict=True):
            if "embeddings" in slot.name:
                new = problems.values([slot])[0]
                np.testing.assert_array_equal(new[unseen], old[unseen])
                assert not np.any(new[~unseen] == old[~unseen])


@pytest.mark.parametrize(
    ("lazy", "picked"),
    [
        (None, [True, False, True, False]),
        ("kernel", [False, True, False, False]),
        (lambda variable: len(variable.shape) == 3, [False, False, True, False]),
    ],
    ids=["default", "pattern", "callable"],
)
def test_lazy_says_which_variables(lazy, picked):
    start, gradients = sparse_problem()
    still = [[np.zeros_like(g) for g in gradients[0]]]
    path = trained(optimizers.LazyAdam(**KWARGS, lazy=lazy), start, gradients[:1] + still, SHAPES)
    stays = [np.array_equal(a, b) for a, b in zip(path[0], path[1], strict=True)]
    assert stays == picked


def test_lazy_refuses_vectors():
    start, _ = sparse_problem()
    variables = [keras.Variable(x, name=name) for x, name in zip(start, SHAPES, strict=True)]
    with pytest.raises(ValueError, match=r"`lazy` must be a rule that picks variables of two or .*It picks \['bias'\]"):
        optimizers.LazyAdam(lazy="bias").build(variables)


def test_what_acts_on_the_direction_stands_before_a_lazy_decay():
    start, gradients = sparse_problem()
    gradients = [[np.ones_like(g) for g in gradients[0]]]
    kwargs = {**KWARGS, "after": [transforms.ClipByValue(0.25)]}
    lazy = trained(optimizers.LazyAdam(**kwargs), start, gradients, SHAPES)
    expected = [x - 0.03 * (0.25 + 0.3 * x) for x in start]
    assert_same_path(lazy, [expected])


def test_any_elementwise_transform_can_be_lazy():
    start, gradients = sparse_problem()
    chain = [transforms.SeenRows(transforms.ScaleByLion(0.8, 0.9))]
    optimizer = optimizers.SGD(0.1, groups=[optimizers.Group("embed", transforms=chain)])
    path = trained(optimizer, start, gradients, SHAPES)
    rows = [row for row in range(6) if row != UNSEEN]
    for row in rows:
        steps = [t for t, step in enumerate(gradients) if step[0][row].any()]
        alone = reference.Lion(0.1, beta_1=0.8, beta_2=0.9)
        x = start[0][row].astype("float64")
        for t in steps:
            x = alone.step(x, gradients[t][0][row].astype("float64"))
        np.testing.assert_allclose(path[-1][0][row], x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(path[-1][0][UNSEEN], start[0][UNSEEN])


def test_an_embedding_in_fit_leaves_unseen_rows():
    embed = keras.layers.Embedding(5, 3, name="embedding")
    model = keras.Sequential([keras.Input((4,)), embed, keras.layers.Flatten(), keras.layers.Dense(1)])
    before = problems.values([embed.embeddings])[0]
    model.compile(optimizers.LazyAdam(0.1, weight_decay=0.5, global_clipnorm=1.0), "mse")
    rows = np.array([[0, 1, 1, 3], [3, 3, 0, 1]])
    model.fit(rows, np.ones((2, 1)), batch_size=2, epochs=3, verbose=0)
    after = problems.values([embed.embeddings])[0]
    changed = np.any(after != before, axis=1)
    assert changed.tolist() == [True, True, False, True, False]
