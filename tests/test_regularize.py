"""Models made anew with penalties, dropout and drop paths: what changes, and that all else stays."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from regularized_models import NAMES, ROWS

from kopt.regularizers import L2, regularize, unregularize

FACTOR, RATE, PATH = 0.01, 0.3, 0.2
BACKEND = keras.backend.backend()
FITTED = ["nested", "transformer"] if BACKEND == "torch" else ["nested"]
MARK = "regularize_"


def numpy_of(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def called(model, x):
    return [numpy_of(leaf) for leaf in keras.tree.flatten(model(x, training=False))]


def all_layers(model):
    return model._flatten_layers(include_self=False)


def named(model):
    """Returns the layers of Sequential and Functional models, at any depth, by name."""
    found = {}
    for layer in model.layers:
        found[layer.name] = layer
        found |= named(layer) if hasattr(layer, "layers") else {}
    return found


def inputs_of(model):
    return [layer.name for layer in all_layers(model) if isinstance(layer, keras.layers.InputLayer)]


def weights(model):
    return {w.path: numpy_of(w) for w in model.weights if MARK not in w.path}


@functools.cache
def made(name):
    """Returns a row's model, with statistics and frozen layers that are not those of a fresh one, and the new model."""
    keras.utils.set_random_seed(0)
    model = ROWS[name].make()
    random = np.random.default_rng(1)
    model.set_weights([w + np.abs(random.normal(size=w.shape)).astype(w.dtype) / 10 for w in model.get_weights()])
    paths = {"drop_path": PATH} if ROWS[name].paths else {}
    return model, regularize(model, kernel=L2(FACTOR), dropout=RATE, **paths)


def entries(config):
    """Yields name, names of what it reads, class and config of each layer and operation in a config of Keras."""
    before = []
    for entry in config["layers"]:
        name = entry["config"].get("name") or entry["name"]
        reads = list(histories(entry["inbound_nodes"])) if "inbound_nodes" in entry else before
        yield name, reads, entry["class_name"], entry["config"]
        if isinstance(entry["config"].get("layers"), list):
            yield from entries(entry["config"])
        before = [name]


def histories(node):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value[0]] if key == "keras_history" else histories(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from histories(value)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_weights_names_and_flags_stay(name):
    model, new = made(name)
    x = ROWS[name].inputs()
    for old, fresh in zip(called(model, x), called(new, x), strict=True):
        np.testing.assert_array_equal(old, fresh)
    before, after = weights(model), weights(new)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert (list(before) == list(after)) == ROWS[name].keeps_order
    assert new.name == model.name
    assert [tensor.name for tensor in new.inputs] == [tensor.name for tensor in model.inputs]
    assert inputs_of(new) == inputs_of(model)
    kept = {key: layer for key, layer in named(new).items() if not key.startswith(MARK)}
    assert kept.keys() == named(model).keys()
    assert all(type(layer) is type(kept[key]) for key, layer in named(model).items())
    assert all(layer.trainable == kept[key].trainable for key, layer in named(model).items())
    assert [v.path for v in new.trainable_variables] == [
        v.path for v in new.weights if v.path in {w.path for w in model.trainable_variables}
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_model_that_is_given_stays_as_it_is(name):
    model, new = made(name)
    assert not any(layer.name.startswith(MARK) for layer in all_layers(model))
    assert not model.losses
    shared = {id(v) for v in model.variables} & {id(v) for v in new.variables}
    assert not shared
    assert not {id(layer) for layer in all_layers(model)} & {id(layer) for layer in all_layers(new)}


@pytest.mark.parametrize("name", NAMES)
def test_penalties_are_on_the_kernels_of_hidden_layers_and_nowhere_else(name):
    model, new = made(name)
    ends = ROWS[name].penalised

    def is_one(variable):
        return any(f"/{variable.path}".endswith(f"/{end}") for end in ends)

    held = [v for v in new.trainable_variables if v.regularizer is not None]
    assert all(map(is_one, held))
    assert len(held) == len(ends)
    kernels = [w for w in model.trainable_variables if is_one(w)]
    expected = [FACTOR * np.square(numpy_of(w).astype("float64")).sum() for w in kernels]
    assert len(new.losses) == len(expected)
    np.testing.assert_allclose(sorted(float(numpy_of(loss)) for loss in new.losses), sorted(expected), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_and_drop_paths_stand_where_they_are_promised(name):
    row, (_, new) = ROWS[name], made(name)
    found = list(entries(new.get_config()))
    dropped = [(reads, config) for key, reads, _, config in found if key.startswith(f"{MARK}dropout")]
    assert sorted(tuple(dict.fromkeys(reads)) for reads, _ in dropped) == sorted((one,) for one in row.dropped)
    assert all(config["rate"] == RATE for _, config in dropped)
    for one in row.rates:
        layer = named(new)[one]
        assert getattr(layer, "rate", None) == RATE or layer.forward_layer.dropout == RATE
    own = {
        key.removeprefix(f"{MARK}drop_path_"): config["rate"] for key, _, kind, config in found if kind == "DropPath"
    }
    assert own == pytest.approx(row.paths)
    for key, _, kind, _ in found:
        if kind == "DropPath":
            readers = {(reader, kind) for reader, reads, kind, _ in found if key in reads}
            assert len(readers) == 1
            assert {kind for _, kind in readers} == {"Add"}


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    if not ROWS[name].loads:
        pytest.skip("Keras saves code of lambdas without what it refers to.")
    _, new = made(name)
    path = tmp_path / "model.keras"
    new.save(path)
    loaded = keras.models.load_model(path, safe_mode=False)
    x = ROWS[name].inputs()
    for old, fresh in zip(called(new, x), called(loaded, x), strict=True):
        np.testing.assert_array_equal(old, fresh)
    assert [float(numpy_of(loss)) for loss in loaded.losses] == [float(numpy_of(loss)) for loss in new.losses]
    rates = [[(layer.name, layer.get_config().get("rate")) for layer in named(m).values()] for m in (new, loaded)]
    assert rates[0] == rates[1]
    assert [layer.trainable for layer in named(loaded).values()] == [layer.trainable for layer in named(new).values()]


@pytest.mark.parametrize("name", NAMES)
def test_unregularize_takes_all_of_it_out_again(name):
    model, new = made(name)
    back = unregularize(new)
    assert not back.losses
    assert list(named(back)) == list(named(model))
    assert list(weights(back)) == [w.path for w in model.weights]
    x = ROWS[name].inputs()
    for old, fresh in zip(called(model, x), called(back, x), strict=True):
        np.testing.assert_array_equal(old, fresh)


@pytest.mark.parametrize("name", [n if n in FITTED else pytest.param(n, marks=pytest.mark.slow) for n in ROWS])
def test_it_trains_and_the_penalties_count(name):
    """One step on the whole batch without dropout: the loss is that of the model plus the penalties."""
    model, _ = made(name)
    paths = {"drop_path": PATH} if ROWS[name].paths else {}
    new = regularize(model, kernel=L2(FACTOR), dropout=RATE, **paths)
    x = ROWS[name].inputs(8)
    y = keras.tree.map_structure(lambda t: np.zeros((8, *t.shape[1:]), "float32"), model(x))
    new.compile(keras.optimizers.SGD(1e-3), "mse")
    penalties = sum(float(numpy_of(loss)) for loss in new.losses)
    plain = sum(np.mean(np.square(out)) for out in called(model, x))
    assert new.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain + penalties, rel=1e-4)
    new.fit(x, y, epochs=2, batch_size=4, verbose=0)
    assert sum(float(numpy_of(loss)) for loss in new.losses) != penalties
