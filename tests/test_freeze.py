"""Variables that stand still, and those whose turn comes."""

import keras
import numpy as np
import pytest

from kopt import optimizers, transforms
from kopt.testing import problems
from kopt.testing.training_checks import compiled

STEPS = 6


def path(**options):
    """Returns the weights before the first and after each step, with gradients that do not depend on them."""
    optimizer = optimizers.AdamW(0.05, beta_2=0.9, weight_decay=0.0, **options)
    variables = problems.variables()
    seen = [problems.values(variables)]
    for step in range(STEPS):
        optimizer.apply(problems.tensors(problems.gradients(step)), variables)
        seen.append([np.array(value) for value in problems.values(variables)])
    return seen


def test_a_frozen_variable_stays_whatever_decays_it():
    optimizer = optimizers.AdamW(0.05, weight_decay=0.3, after=[transforms.Freeze("first/")])
    seen, start = problems.walk(optimizer), problems.start_values()
    problems.assert_same(seen[:2], start[:2])
    assert all((a != b).any() for a, b in zip(seen[2:], start[2:], strict=True))


@pytest.mark.parametrize(
    ("unfreeze", "opening"),
    [
        (transforms.Unfreeze({"first/kernel": 4, "first/": 2}), [4, 2, 0, 0]),
        (transforms.Unfreeze({"kernel": 2, "bias": 1}, "epoch", steps_per_epoch=2), [4, 2, 4, 2]),
    ],
)
def test_a_variable_moves_when_its_turn_comes_as_if_it_had_trained_all_along(unfreeze, opening):
    plain, seen = path(), path(after=[unfreeze])
    for i, opens in enumerate(opening):
        for step in range(STEPS + 1):
            moved = plain[step][i] - plain[opens][i] if step > opens else np.zeros_like(plain[0][i])
            np.testing.assert_allclose(seen[step][i], plain[0][i] + moved, atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "argument"),
    [(transforms.Freeze("frist"), "match"), (transforms.Unfreeze({"first": 1, "frist": 2}), "opens_at")],
)
def test_a_pattern_that_is_nowhere_found_names_what_there_is(transform, argument):
    optimizer = optimizers.SGD(0.1, after=[transform])
    with pytest.raises(ValueError, match=argument) as caught:
        optimizer.build(problems.variables())
    assert "frist" in str(caught.value)
    assert "first/kernel" in str(caught.value)


def test_a_function_is_asked_once_and_its_answer_saved(tmp_path):
    asked = []

    def is_kernel(variable):
        asked.append(variable.path)
        return len(variable.shape) > 1

    model = compiled(problems.sequential(), optimizers.AdamW(0.05, after=[transforms.Freeze(is_kernel)]))
    start = problems.values(model.trainable_variables)
    problems.fit(model)
    assert len(asked) == len(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    problems.fit(loaded)
    for before, after, variable in zip(
        start, problems.values(loaded.trainable_variables), model.trainable_variables, strict=True
    ):
        assert (before == after).all() == (len(variable.shape) > 1)


def test_the_turns_survive_a_file_in_their_order(tmp_path):
    turns = {"second/bias": 1, "second/": 2, "a": 7, "": 3}
    turns = {k: v for k, v in turns.items() if k != "a"}
    optimizer = optimizers.SGD(0.1, after=[transforms.Unfreeze(turns)])
    model = compiled(problems.sequential(), optimizer)
    problems.fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    (saved,) = [t for t in loaded.optimizer._assignment.after if isinstance(t, transforms.Unfreeze)]
    assert list(saved.opens_at.items()) == list(turns.items())
    problems.assert_same(problems.values(loaded.optimizer.variables), problems.values(model.optimizer.variables))
