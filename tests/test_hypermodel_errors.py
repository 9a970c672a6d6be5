"""What hypermodels refuse before a trial trains, and what they say."""

import inspect

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers, ops
from test_hypermodel import SPACE, Batches, X, Y, hyperparameters, mlp

from kopt.tuning import Choice, Float, OptimizerSpace, SearchSpace, make_hypermodel


def constructed(build, space=SPACE, **keywords):
    """Does what the construction of a tuner does first."""
    make_hypermodel(build, space, **({"loss": "binary_crossentropy"} | keywords)).build(keras_tuner.HyperParameters())


fixed = SearchSpace(optimizer=OptimizerSpace("sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.0))
smooth = SearchSpace.default(label_smoothing=Float(0.0, 0.2))
one = mlp()
REFUSED = {
    "no model": (lambda: constructed(lambda hp: None), "build.*returns a keras.Model.*None.*return model"),
    "something else": (lambda: constructed(lambda hp: 3), "build.*returns a keras.Model.*3"),
    "no function": (lambda: constructed("mlp"), "build.*a keras.Model, a function"),
    "class": (lambda: constructed(keras.Sequential), "build.*a keras.Model, a function"),
    "function of two": (lambda: constructed(lambda hp, units: None), "It needs hp, units"),
    "the same model": (lambda: [hm.build(keras_tuner.HyperParameters()) for hm in
                                [make_hypermodel(lambda: one, SearchSpace(optimizer="adam"), loss="mse")]
                                for _ in range(2)], "a new model each time"),
    "taken name": (lambda: constructed(lambda hp: mlp(hp.Float("dropout", 0, 1))), "name='dropout'.*hp.get"),
    "taken name of a branch": (lambda: constructed(lambda hp: mlp(hp.Float("SGD/momentum", 0, 1))), "SGD/momentum"),
    "nothing to search": (lambda: constructed(mlp(), fixed), "something to search"),
    "no space": (lambda: constructed(mlp(), {"l2": 0.1}), "space.*SearchSpace"),
    "no loss": (lambda: constructed(mlp(), loss=None), "loss.*given"),
    "loss without smoothing": (lambda: constructed(mlp(), smooth, loss="mse"), "loss.*label smoothing"),
    "no place for dropout": (lambda: constructed(lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)])),
                             "no dropout layers"),
    "epochs": (lambda: constructed(mlp(), epochs=0), "epochs"),
    "optimizer": (lambda: constructed(mlp(), compile_arguments={"optimizer": "sgd"}), "compile_arguments"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_when_a_tuner_is_made(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()


def test_a_misspelt_argument_of_compile_is_refused():
    with pytest.raises(TypeError, match="Did you mean `jit_compile`"):
        constructed(mlp(), compile_arguments={"jit_compiel": True})


def test_a_name_in_a_scope_of_its_own_is_free():
    def build(hp):
        with hp.name_scope("block"):
            return mlp(hp.Float("dropout", 0.25, 0.5))

    space = SearchSpace(optimizer="adam", batch_size=Choice([8, 16]))
    constructed(build, space)
    hp = keras_tuner.HyperParameters()
    make_hypermodel(build, space, loss="mse").build(hp)
    assert hp.values["block/dropout"] == 0.25


@pytest.mark.parametrize(
    ("x", "keywords", "message"),
    [
        (X[:12], {}, "at most the number of rows. Received: up to 16 for data of 12 rows"),
        ({"a": X[:12], "b": X[:12]}, {}, "data of 12 rows"),
        (X, {"validation_split": 0.75}, "8 are left by validation_split"),
        (X, {"batch_size": 4}, "batch_size.*not both"),
        (Batches(), {}, "dataset makes its batches itself"),
        (iter([X]), {}, "dataset makes its batches itself"),
        (X, {"epoch": 3}, "no such arguments"),
    ],
)
def test_data_that_does_not_suit_is_refused(x, keywords, message):
    hypermodel = make_hypermodel(mlp(), SPACE, loss="binary_crossentropy")
    hp = hyperparameters(hypermodel, batch_size=8)  # The largest counts, not the one that is drawn.
    model = hypermodel.build(hp)
    with pytest.raises(keras_tuner.errors.FatalError, match=f"(?s){message}"):
        hypermodel.fit(hp, model, x, Y[: len(x)] if isinstance(x, np.ndarray) else None, verbose=0, **keywords)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 0


def test_data_without_a_length_needs_one_for_schedules():
    hypermodel = make_hypermodel(mlp(), SearchSpace(optimizer="adam", schedule="rex"), loss="mse")
    hp = keras_tuner.HyperParameters()
    with pytest.raises(ValueError, match="steps_per_epoch"):
        hypermodel.fit(hp, hypermodel.build(hp), ((X, Y) for _ in range(2)), verbose=0)


def test_the_arguments_are_keywords():
    parameters = inspect.signature(make_hypermodel).parameters
    assert [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY] == ["build", "space"]
