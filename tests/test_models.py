"""Are models of every kind saved and resumed with their optimizers, and optimizers with parts of the user's own?"""

import keras
import numpy as np
import pytest
from keras import ops

from kopt import optimizers, transforms
from kopt.testing import TransformContract, problems
from kopt.testing.training_checks import Numbers, compiled, everything, interrupted


@keras.saving.register_keras_serializable(package="tests")
class PullToStart(transforms.Transform):
    """Adds a pull towards where the variable started, stronger the further all the variables are away together."""

    def __init__(self, strength: float = 0.1) -> None:
        self.strength = strength

    def slots(self, variable):
        return [transforms.Slot("anchor", start="variable"), transforms.Slot("row", (2,), 1.0)]

    def own_slots(self):
        return [transforms.Slot("farthest", ()), transforms.Slot("history", (3,), 0.5)]

    def scalars(self, t, learning_rate):
        return {"strength": self.strength}

    def shared(self, updates, params, slots, own, h):
        squares = [ops.sum(ops.square(x - s["anchor"])) for x, s in zip(params, slots, strict=True)]
        distance = ops.cast(ops.sqrt(ops.sum(ops.stack(squares))), "float32")
        history = ops.concatenate([own["history"][1:], ops.reshape(distance, (1,))])
        farthest = ops.maximum(own["farthest"], distance)
        return {"distance": farthest}, {"farthest": farthest, "history": history}

    def update(self, u, x, slots, h):
        pull = (x - slots["anchor"]) * h["strength"] * h["distance"]
        return u + pull, {"anchor": slots["anchor"], "row": slots["row"] * 0.5}


@keras.saving.register_keras_serializable(package="tests")
class Remember(transforms.Transform):
    """Leaves the update as it is, and keeps tensors that the step also uses elsewhere: an aliasing trap."""

    def slots(self, variable):
        return [transforms.Slot(name) for name in ("gradient", "twin", "value", "older_value")]

    def update(self, u, x, slots, h):
        return u, {"gradient": u, "twin": u, "value": x, "older_value": slots["value"]}


class TestPullToStart(TransformContract):
    @pytest.fixture
    def make(self):
        return lambda **changes: PullToStart(**{"strength": 0.2, **changes})


def full_adamw(**changes):
    kept = [PullToStart(0.3), Remember()]
    return optimizers.AdamW(beta_1=0.8, weight_decay=0.1, before=kept, **{**everything(), **changes})


@pytest.mark.parametrize("kind", problems.MODELS)
def test_resumed_training_equals_uninterrupted(kind, tmp_path):
    seen = interrupted(compiled(problems.MODELS[kind](), full_adamw()), tmp_path / "model.keras")
    seen.resumed.assert_same(seen.went_on)
    assert seen.configs[0] == seen.configs[1]


def test_groups_stay_where_they_were_when_loading_renames_paths(tmp_path):
    model = problems.nested()
    groups = [optimizers.Group("inner/first", frozen=True), optimizers.Group("outer/second", learning_rate=0.5)]
    compiled(model, optimizers.SGD(0.1, momentum=0.9, groups=groups))
    problems.fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    frozen = problems.values(loaded.get_layer("inner").weights)
    problems.fit(model)
    problems.fit(loaded)
    Numbers.of(loaded).assert_same(Numbers.of(model))
    problems.assert_same(problems.values(loaded.get_layer("inner").weights), frozen)


def test_chain_that_places_rate_and_decay_itself_is_saved_and_resumed(tmp_path):
    chain = [transforms.Momentum(0.5), transforms.ScaleByLearningRate(), transforms.AddDecayedWeights(0.01)]
    seen = interrupted(compiled(problems.sequential(), optimizers.Composed(chain, 0.05)), tmp_path / "model.keras")
    seen.resumed.assert_same(seen.went_on)


def test_anchor_is_where_training_starts_not_where_the_optimizer_was_built():
    optimizer, variables = optimizers.Composed([PullToStart()], 0.1), problems.variables()
    optimizer.build(variables)
    for variable in variables:
        variable.assign(variable + 1.0)  # as `load_weights` does
    start = problems.values(variables)
    problems.walk(optimizer, 2, on=variables)
    anchors = [slot for slot in optimizer.slot_variables if "anchor" in slot.name]
    problems.assert_same(problems.values(anchors), start)


def test_own_state_follows_its_definition():
    strength, optimizer, variables = 0.3, optimizers.Composed([PullToStart(0.3)], 0.1), problems.variables()
    anchor = x = [value.astype("float64") for value in problems.start_values()]
    farthest, history = 0.0, [0.5, 0.5, 0.5]
    for step in range(4):
        distance = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(x, anchor, strict=True)))
        farthest, history = max(farthest, distance), [*history[1:], distance]
        triples = zip(x, anchor, problems.gradients(step), strict=True)
        x = [value - 0.1 * (g + strength * farthest * (value - start)) for value, start, g in triples]
    problems.assert_close(problems.walk(optimizer, 4, on=variables), x)
    state = {slot.name.split("_")[-1]: problems.values([slot])[0] for slot in optimizer.slot_variables}
    problems.assert_close([state["farthest"], state["history"]], [farthest, history])
    assert np.all(state["row"] == 0.5**4)


def test_tensors_kept_by_a_transform_are_not_written_over():
    optimizer, variables = optimizers.Composed([Remember()], 0.1), problems.variables()
    seen = [problems.values(variables)]
    for step in range(3):
        optimizer.apply(problems.tensors(problems.gradients(step)), variables)
        seen.append(problems.values(variables))
    kept = problems.values(optimizer.slot_variables)
    expected = [problems.gradients(2), problems.gradients(2), seen[2], seen[1]]
    problems.assert_same(kept, [array for slot in expected for array in slot])


def test_fit_goes_on_after_steps_by_hand():
    model = compiled(problems.sequential(), optimizers.Composed([Remember()], 0.1, use_ema=True))
    gradients = [np.zeros(variable.shape, "float32") for variable in model.trainable_variables]
    model.optimizer.apply(problems.tensors(gradients), model.trainable_variables)
    for _ in range(3):  # each end of `fit` puts the averages into the weights
        problems.fit(model)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 1 + 3 * 3


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the matrix compiles on the other backends")
def test_dynamo_changes_nothing():
    def trained(**options):
        model = compiled(problems.sequential(), optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=1.0), **options)
        problems.fit(model, epochs=2)
        return Numbers.of(model)

    trained(jit_compile=True).assert_close(trained(run_eagerly=True))
