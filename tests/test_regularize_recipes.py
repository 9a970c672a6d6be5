"""Recipes of regularization: what `apply_recipe` makes of a model, what it says, and that it trains."""

import keras
import numpy as np
import pytest
from keras import ops
from regularized_models import ROWS, once, sequential

import kopt
from kopt.regularizers import RECIPES, Recipe, apply_recipe


def data_of(kind, classes, rows=16):
    return ROWS[kind].inputs(rows), np.arange(rows, dtype="int32") % classes


def decays(optimizer, model):
    return {row.variable: row.weight_decay for row in optimizer.describe(model).rows}


@once
def test_recipes_exist_and_each_part_has_a_source():
    assert list(RECIPES) == ["nanogpt", "deit", "convnext", "small-data-mlp", "small-convnet"]
    for recipe in RECIPES.values():
        assert set(recipe.sources) == set(recipe.parts()) - ({"batch_size"} - set(recipe.sources)), recipe.name
        assert f"{recipe.name}: " in str(recipe)
        assert all(f"\n{part} " in str(recipe) for part in recipe.parts())
    with pytest.raises(KeyError, match="There are: nanogpt, deit"):
        RECIPES["resnet"]


def test_convnext_drops_paths_averages_and_decays_matrices_only(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    model = ROWS["convnext"].make()
    new, optimizer, callbacks = apply_recipe(model, "convnext", epochs=2, batch_size=8)
    text = capsys.readouterr().out
    assert "│ from 0 to 0.1 with depth, in 2 layers" in text
    assert "Liu et al. 2022, table 5" in text
    assert "RandAugment" in text
    assert type(optimizer) is kopt.optimizers.AdamW
    x, y = data_of("convnext", 3)
    recipe = RECIPES["convnext"]
    new.compile(optimizer, recipe.loss())
    assert new.loss.label_smoothing.argument == 0.1
    new.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    assert isinstance(callbacks[0], kopt.callbacks.AveragedWeights)
    highest = 4e-3 * 8 / 4096
    assert float(optimizer.arguments["learning_rate"].schedule.initial_learning_rate) == pytest.approx(highest)
    found = decays(optimizer, new)
    assert {path for path, decay in found.items() if decay == 0.05} == {
        v.path for v in new.trainable_variables if v.name != "bias" and len(v.shape) > 1
    }
    assert set(found.values()) == {0.0, 0.05}
    # The weights are the averages: training has gone on from others.
    assert not np.array_equal(ops.convert_to_numpy(new.weights[0]), ops.convert_to_numpy(model.weights[0]))


@once
def test_nanogpt_clips_and_leaves_a_model_without_dropout_as_it_is(capsys):
    model = ROWS["transformer"].make()
    new, optimizer, callbacks = apply_recipe(model, "nanogpt", epochs=2, steps_per_epoch=100, verbose=False)
    assert not capsys.readouterr().out
    assert new is not model
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    assert optimizer.global_clipnorm == 1.0
    schedule = optimizer.arguments["learning_rate"]
    assert float(ops.convert_to_numpy(schedule(100))) == pytest.approx(6e-4 * (0.1 + 0.9 / 2), rel=1e-3)
    assert [type(callback) for callback in callbacks] == [kopt.callbacks.Report]
    found = decays(optimizer, new)
    assert {path for path, decay in found.items() if "embeddings" in path and decay} == set()
    assert apply_recipe(sequential(), "nanogpt", epochs=1, verbose=False).model.get_layer("own").rate == 0.0


@once
def test_small_data_mlp_drops_constrains_and_stops_early():
    new, optimizer, callbacks = apply_recipe(sequential(), "small-data-mlp", epochs=10, learning_rate=0.01)
    assert {layer.rate for layer in new.layers if isinstance(layer, keras.layers.Dropout)} == {0.5}
    assert new.get_layer("first").kernel_constraint.max_value == 3.0
    assert callbacks[1].patience == 2
    assert optimizer.arguments["learning_rate"].initial_learning_rate == 0.01
    x, y = data_of("sequential", 2)
    new.compile(optimizer, "sparse_categorical_crossentropy")
    new.fit(x, y, epochs=1, verbose=0, callbacks=callbacks, validation_data=(x, y))


@once
def test_a_compiled_model_comes_back_with_the_optimizer_of_the_recipe_and_its_own_loss(capsys):
    model = ROWS["convolutions"].make()
    model.compile("adam", "mse", metrics=["mae"])
    new, optimizer, callbacks = apply_recipe(model, "small-convnet", epochs=3, batch_size=128)
    assert new.optimizer is optimizer
    assert new.loss == "mse"
    assert "The model is compiled, with the loss that it had." in capsys.readouterr().out
    x = ROWS["convolutions"].inputs(16)
    new.fit(x, np.zeros((16, 1), "float32"), verbose=0, callbacks=callbacks)
    names = [type(transform).__name__ for transform in optimizer.arguments["transforms"]]
    assert names == ["AddDecayedWeights", "Momentum", "ScaleByLearningRate"]
    assert optimizer.arguments["learning_rate"].schedule.initial_learning_rate == 0.05
    mix = RECIPES["small-convnet"].augmentation(10)
    assert (mix.alpha, mix.switch, mix.num_classes) == (0.2, 0.0, 10)
    cut = RECIPES["deit"].augmentation()
    assert (cut.alpha, cut.cutmix, cut.switch) == (0.8, 1.0, 0.5)


@once
def test_a_recipe_can_be_changed():
    recipe = RECIPES["deit"].replace(drop_path=None, weight_decay=0.25)
    assert isinstance(recipe, Recipe)
    assert recipe.sources["weight_decay"] == "yours"
    new, optimizer, _ = apply_recipe(sequential(), recipe, epochs=1, steps_per_epoch=9, verbose=False)
    assert set(decays(optimizer, new).values()) == {0.0, 0.25}
    with pytest.raises(TypeError, match=r"Recipe has no argument `drop_paths`\. Did you mean `drop_path`"):
        recipe.replace(drop_paths=0.1)
    with pytest.raises(ValueError, match="'nanogpt' mixes no images"):
        RECIPES["nanogpt"].augmentation()


@once
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet", {}, "`name` must be one of 'nanogpt', 'deit', 'convnext', 'small-data-mlp', 'small-convnet'"),
        ("deit", {}, r"`drop_path` must be left out.*replace\(drop_path=None\)"),
        ("nanogpt", {"epochs": 0}, "`epochs` must be an integer >= 1"),
        ("nanogpt", {"batch_size": 0}, "`batch_size` must be an integer >= 1"),
        ("nanogpt", {"learning_rate": -1.0}, "`learning_rate` must be a finite number > 0"),
        ("nanogpt", {"verbose": 1}, "`verbose` must be True or False"),
    ],
)
def test_what_a_recipe_cannot_do_it_says(name, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        apply_recipe(sequential(), name, **{"epochs": 1, **options})
