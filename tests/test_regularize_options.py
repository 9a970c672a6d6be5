"""What `regularize` can be told, what it says when it cannot, and what a compiled model comes back with."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops
from regularized_models import ROWS, Penalised, once, sequential, transformer

import kopt
from kopt.regularizers import KEEP, L1, L2, regularization_report, regularize, unregularize

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.arange(8, dtype="int32") % 2


def penalised(model):
    """Returns the paths of the variables with a penalty, without the model's name."""
    found = [v.path for v in model.variables if getattr(v, "regularizer", None) is not None]
    return [path.removeprefix(f"{model.name}/") for path in found]


def value_of(tensor):
    return float(ops.convert_to_numpy(tensor))


@once
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["first/kernel", "second/kernel"]),
        ({"exclude": "first"}, ["second/kernel"]),
        ({"exclude": ["fir", layers.BatchNormalization]}, ["second/kernel"]),
        ({"exclude": lambda layer: getattr(layer, "units", 0) == 5, "include": "Dense"}, ["head/kernel"]),
        ({"include": layers.Dense}, ["first/kernel", "second/kernel", "head/kernel"]),
        ({"include": ["^head$", "second"]}, ["second/kernel", "head/kernel"]),
        ({"include": "Dense", "exclude": "s.co"}, ["first/kernel", "head/kernel"]),
    ],
)
def test_layers_are_chosen_by_names_classes_patterns_and_functions(options, expected):
    assert penalised(regularize(sequential(), kernel="l2", **options)) == expected


def test_a_name_of_a_layer_means_this_layer_only():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense"), layers.Dense(3, name="dense_1"),
                              layers.Dense(1, name="head")])  # fmt: skip
    assert penalised(regularize(model, kernel="l2", exclude="dense")) == ["dense_1/kernel"]
    assert penalised(regularize(model, kernel="l2", exclude="dense_?1")) == ["dense/kernel"]


def test_what_is_inside_a_layer_that_is_excluded_is_excluded():
    model = ROWS["nested"].make()
    new = regularize(model, kernel="l2", dropout=0.5, exclude="inner")
    assert penalised(new) == ["c/kernel"]
    assert [layer.name for layer in new._flatten_layers() if "dropout" in layer.name] == ["regularize_dropout_c"]


@once
@pytest.mark.parametrize(
    ("options", "kind", "ends"),
    [
        ({"kernel": L1(0.1)}, "recurrent", {"kernel": 4}),
        ({"recurrent": L1(0.1)}, "recurrent", {"recurrent_kernel": 3}),
        ({"bias": L1(0.1), "include": ".*"}, "recurrent", {"bias": 5}),
        ({"embeddings": L1(0.1)}, "transformer", {"embeddings": 2}),
    ],
)
def test_each_penalty_goes_on_what_it_is_for(options, kind, ends):
    new = regularize(ROWS[kind].make(), **options)
    held = [v for v in new.variables if getattr(v, "regularizer", None) is not None]
    assert {name: sum(v.name == name for v in held) for name in {v.name for v in held}} == ends
    expected = sum(0.1 * np.abs(ops.convert_to_numpy(v)).sum() for v in held)
    assert sum(map(value_of, new.losses)) == pytest.approx(expected, rel=1e-5)


def test_penalties_on_outputs_are_those_of_the_outermost_layer():
    model = ROWS["time distributed"].make()
    new = regularize(model, activity=L1(0.5))
    x = ROWS["time distributed"].inputs()
    new(x)
    hidden = keras.Model(model.inputs, model.layers[0].output)
    expected = 0.5 * np.abs(ops.convert_to_numpy(hidden(x))).sum() / len(x)  # Keras takes the mean over samples.
    assert [value_of(loss) for loss in new.losses] == [pytest.approx(expected, rel=1e-5)]
    cleared = regularize(new, activity=None)
    cleared(x)
    assert not cleared.losses


def test_keep_leaves_and_none_removes():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_regularizer="l1", bias_regularizer="l2"),
                              layers.Dense(1, kernel_regularizer="l1")])  # fmt: skip
    assert len(regularize(model, bias=KEEP, dropout=0.1).losses) == 3
    assert penalised(regularize(model, kernel=None)) == ["dense/bias"]
    assert penalised(regularize(model, bias=None)) == ["dense/kernel", "dense_1/kernel"]
    assert not unregularize(model).losses
    assert repr(KEEP) == "KEEP"


@once
def test_a_function_is_a_penalty_too():
    def halves(kernel):
        return 0.5 * ops.sum(ops.abs(kernel))

    def same(kernel):
        return kernel

    new = regularize(ROWS["recurrent"].make(), kernel=halves, constraint=same)
    kernels = [v for v in new.trainable_variables if v.regularizer is halves]
    assert len(kernels) == 4
    expected = 0.5 * sum(np.abs(ops.convert_to_numpy(kernel)).sum() for kernel in kernels)
    assert sum(map(value_of, new.losses)) == pytest.approx(expected, rel=1e-5)


@once
def test_an_instance_is_used_itself_and_its_strength_reaches_all_layers():
    penalty = L2(0.5)
    new = regularize(ROWS["recurrent"].make(), kernel=penalty)
    before = sum(map(value_of, new.losses))
    penalty.l2.assign(1.0)
    assert sum(map(value_of, new.losses)) == pytest.approx(2 * before, rel=1e-5)
    assert "1.0" in str(new.get_config()["layers"][-2]["config"]["kernel_regularizer"])


def test_constraints_go_on_kernels_and_hold():
    new = regularize(sequential(), constraint=keras.constraints.MaxNorm(0.1))
    new.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    new.fit(X, Y, epochs=1, verbose=0)
    for name in ("first", "second"):
        kernel = ops.convert_to_numpy(new.get_layer(name).kernel)
        assert np.linalg.norm(kernel, axis=0).max() <= 0.1 * (1 + 1e-5)
    assert new.get_layer("head").kernel_constraint is None
    assert regularize(new, constraint=None).get_layer("first").kernel.constraint is None


def test_dropout_that_is_there_gets_another_rate_and_no_second_layer_comes():
    once = regularize(sequential(), dropout=0.1)
    again = regularize(once, dropout=0.4)
    assert [layer.name for layer in once.layers] == [layer.name for layer in again.layers]
    assert {layer.rate for layer in again.layers if isinstance(layer, layers.Dropout)} == {0.4}
    assert {layer.rate for layer in once.layers if isinstance(layer, layers.Dropout)} == {0.1}
    assert unregularize(again).get_layer("own").rate == 0.4
    off = regularize(sequential(), dropout=0.0)
    assert [layer.name for layer in off.layers] == [layer.name for layer in sequential().layers]
    assert off.get_layer("own").rate == 0.0


def test_dropout_drops_and_drop_paths_drop_in_training():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(layers.Add()([x, layers.Dense(4, name="hidden")(x)])))
    for options in ({"dropout": 0.5}, {"drop_path": 0.5}):
        new = regularize(model, **options)
        first, second = (ops.convert_to_numpy(new(X, training=True)) for _ in range(2))
        assert not np.array_equal(first, second)


@once
def test_dropout_goes_behind_layers_that_are_named():
    new = regularize(ROWS["recurrent"].make(), dropout=0.2, dropout_after=["LSTM", layers.Bidirectional])
    names = [layer.name for layer in new.layers]
    assert names == ["both", "regularize_dropout_both", "lstm", "regularize_dropout_lstm", "hidden", "head"]


def test_layers_that_are_put_in_have_the_dtype_of_those_in_front_of_them():
    with keras.device("cpu"):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="mixed_bfloat16"), layers.Dense(1)])
    new = regularize(model, dropout=0.5)
    assert new.layers[1].compute_dtype == "bfloat16"
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m(X)) for m in (model, new)))


@once
def test_drop_path_takes_additions_by_name_and_leaves_sums_of_embeddings():
    new = regularize(transformer(), drop_path=0.3, exclude="add_1")
    rates = {layer.name: value_of(layer.rate) for layer in new.layers if isinstance(layer, kopt.layers.DropPath)}
    assert rates == pytest.approx({"regularize_drop_path_after_attention1": 0.15, "regularize_drop_path_add_2": 0.3})


def test_a_compiled_model_comes_back_compiled_with_an_optimizer_that_begins_anew():
    model = sequential()
    groups = kopt.optimizers.no_decay_groups(model)
    loss = kopt.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)
    metric = keras.metrics.SparseCategoricalAccuracy(name="right")
    model.compile(kopt.optimizers.AdamW(0.01, weight_decay=0.5, groups=groups), loss, metrics=[metric])
    model.fit(X, Y, epochs=2, verbose=0)
    new = regularize(model, kernel=L2(0.1), dropout=0.2)
    assert new.compiled
    assert new.loss is loss
    assert type(new.optimizer) is kopt.optimizers.AdamW
    assert new.optimizer is not model.optimizer
    assert (int(new.optimizer.iterations), int(model.optimizer.iterations)) == (0, 2)
    decays = [row.weight_decay for row in new.optimizer.describe(new).rows]
    assert decays == [row.weight_decay for row in model.optimizer.describe(model).rows]
    assert set(decays) == {0.0, 0.5}
    assert all(a is not metric for a in new.metrics)
    results = [m.evaluate(X, Y, verbose=0, return_dict=True) for m in (model, new)]
    assert results[1]["right"] == results[0]["right"]
    extra = sum(map(value_of, new.losses))
    assert results[1]["loss"] == pytest.approx(results[0]["loss"] + extra, rel=1e-5)
    new.fit(X, Y, epochs=1, verbose=0)
    assert not regularize(sequential(), dropout=0.1).compiled


def test_groups_follow_the_variables_where_their_order_changes():
    model = ROWS["outputs"].make()
    group = kopt.optimizers.Group("deep/kernel", learning_rate=0.5)
    model.compile(kopt.optimizers.SGD(0.1, groups=[group]), {"shares": "mse", "value": "mse"})
    model.optimizer.build(model.trainable_variables)
    new = regularize(model, dropout=0.2)
    assert [v.path for v in new.trainable_variables] != [v.path for v in model.trainable_variables]
    rates = {row.variable: row.learning_rate for row in new.optimizer.describe(new).rows}
    assert [path for path, rate in rates.items() if rate == pytest.approx(0.05)] == ["deep/kernel"]


def test_a_subclassed_model_is_made_anew_where_its_own_config_takes_the_penalty(tmp_path):
    model = subclassed()
    new = regularize(model, kernel=L2(0.5))
    assert len(new.losses) == 2
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m(X)) for m in (model, new)))
    new.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [*map(value_of, loaded.losses)] == [*map(value_of, new.losses)]
    assert not unregularize(new).losses


@once
def test_in_place_says_nothing_where_all_of_it_is_saved(recwarn, tmp_path):
    model = regularize(ROWS["recurrent"].make(), recurrent=L2(0.5), kernel=L2(0.5), in_place=True)
    assert not [warning for warning in recwarn if "not saved" in str(warning.message)]
    model.save(tmp_path / "model.keras")
    assert len(keras.models.load_model(tmp_path / "model.keras").losses) == len(model.losses) == 8


def mine(units=3):
    class Mine(keras.Model):
        def __init__(self, dense):
            super().__init__()
            self.dense, self.head = dense, layers.Dense(1)

        def call(self, x):
            return self.head(self.dense(x))

    model = Mine(layers.Dense(units))
    model(X)
    return model


def test_in_place_changes_compiled_steps_of_models_without_a_config():
    model = mine()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((8, 1), "float32")
    model.fit(X, y, verbose=0)
    before = model.evaluate(X, y, verbose=0)
    with pytest.warns(UserWarning, match=f"put on {model.dense.name}, {model.head.name} is not saved with"):
        assert regularize(model, kernel=L2(0.5), constraint=keras.constraints.NonNeg(), in_place=True) is model
    extra = 0.5 * sum(np.square(ops.convert_to_numpy(d.kernel)).sum() for d in (model.dense, model.head))
    assert model.evaluate(X, y, verbose=0) == pytest.approx(before + extra, rel=1e-5)
    assert model.dense.kernel.constraint is not None
    with pytest.warns(UserWarning, match="not saved"):
        regularize(model, kernel=None, exclude=model.head.name, in_place=True)
    assert len(model.losses) == 1


class Block(layers.Layer):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.dense = layers.Dense(4, name="inside")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)


def blocks():
    return keras.Sequential([keras.Input((4,)), layers.Dense(4, name="first"), Block(name="block"), layers.Dense(1)])


def test_layers_that_configs_do_not_reach_can_be_left_out_or_changed_in_place():
    assert penalised(regularize(blocks(), kernel="l2", exclude="block")) == ["first/kernel"]
    with pytest.warns(UserWarning, match="put on inside is not saved"):
        assert len(regularize(blocks(), kernel="l2", in_place=True).losses) == 3


def subclassed():
    model = Penalised(3)
    model.build((None, 4))
    return model


def unbuilt():
    return keras.Sequential([layers.Dense(2)])


@once
@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (sequential, {}, "needs something to do"),
        (sequential, {"dropout": 1.0}, r"`dropout` must be a number in \[0, 1\). Received: dropout=1.0"),
        (sequential, {"drop_path": -0.1}, r"`drop_path` must be a number in \[0, 1\)"),
        (sequential, {"kernel": "l3"}, "`kernel` must be.*Received: kernel='l3'"),
        (sequential, {"kernel": L2}, "`kernel` must be an instance.*Call it: L2"),
        (sequential, {"constraint": 3}, "`constraint` must be.*Received: constraint=3"),
        (sequential, {"kernel": "l2", "exclude": "fisrt"}, r"`exclude` must be.*'fisrt'.*first \(Dense\)"),
        (sequential, {"kernel": "l2", "include": [3]}, "`include` must be names of layers.*Received: include=3"),
        (sequential, {"kernel": "l2", "include": "("}, "`include` must be a valid regular expression"),
        (sequential, {"kernel": "l2", "exclude": "Dense"}, "`kernel` must be left out where none"),
        (sequential, {"recurrent": "l2"}, "`recurrent` must be left out where none"),
        (sequential, {"dropout": 0.2, "dropout_after": "lstm"}, "`dropout_after` must be something that a layer"),
        (sequential, {"drop_path": 0.2}, "`drop_path` must be left out.*no `Add` or `\\+`.*DropPath"),
        (lambda: keras.Sequential([keras.Input((5, 3)), layers.LSTM(2), layers.Dense(1)]), {"dropout": 0.2},
         '`dropout` must be left out.*dropout_after="LSTM"'),
        (unbuilt, {"kernel": "l2"}, "`model` must be built.*Call `model.build"),
        (mine, {"kernel": "l2"}, "made anew from its config.*in_place=True"),
        (mine, {"dropout": 0.5, "in_place": True}, "`in_place` must be False.*made anew"),
        (mine, {"embeddings": "l2", "in_place": True}, "`embeddings` must be left out"),
        (subclassed, {"dropout": 0.2}, "`dropout` must be left out.*makes its layers itself.*constructor"),
        (subclassed, {"drop_path": 0.2}, "`drop_path` must be left out.*makes its layers itself"),
        (subclassed, {"bias": "l2"}, "`bias` must be left out.*makes its layers itself.*`in_place=True`"),
        (blocks, {"kernel": "l2"}, "'inside' is made by 'block', of class Block.*exclude='block'.*in_place"),
        (lambda: 3, {"kernel": "l2"}, "`model` must be a keras.Model"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_why_and_what_to_do(make, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        regularize(make(), **options)


def test_the_report_shows_each_penalty_its_value_and_its_share():
    model = regularize(sequential(), kernel=L2(0.5), bias="l1", activity="l2")
    model.get_layer("first").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    plain = regularization_report(model)
    assert [row[:2] for row in plain.rows[:4]] == [
        ("first", "kernel"), ("first", "bias"), ("second", "kernel"), ("second", "bias")]  # fmt: skip
    assert plain.rows[0].value == 0.0
    assert plain.rows[0].penalty == "L2(l2=0.5) (frozen)"
    kernel = ops.convert_to_numpy(model.get_layer("second").kernel)
    assert plain.rows[2].value == pytest.approx(0.5 * np.square(kernel).sum(), rel=1e-5)
    assert {row.value for row in plain.rows if row.weight == "outputs"} == {None}
    assert {row.share for row in plain.rows} == {None}
    full = regularization_report(model, X, Y)
    assert full.loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    assert [row.share for row in full.rows] == [pytest.approx(row.value / full.loss) for row in full.rows]
    assert all(row.value > 0 for row in full.rows if row.weight == "outputs")
    assert full.total == pytest.approx(sum(row.value for row in full.rows))
    lines = str(full).splitlines()
    assert re.match(r"layer +weight +penalty +value +share of the loss", lines[0])
    assert re.search(rf"{len(full.rows)} penalties, .* of a loss of", lines[-1])
    given = regularization_report(model, loss=10.0)
    assert given.rows[2].share == pytest.approx(given.rows[2].value / 10)
    assert str(regularization_report(sequential())) == "no penalties"
    with pytest.raises(ValueError, match="`x` must be None if the model is not compiled"):
        regularization_report(sequential(), X)


def test_the_report_knows_what_follows_a_schedule_and_becomes_a_frame():
    pandas = pytest.importorskip("pandas")
    ramp = L2(kopt.schedules.Linear(0.0, 10, 1.0))
    frame = pandas.DataFrame(regularization_report(regularize(sequential(), kernel=ramp)).rows)
    assert list(frame.columns) == ["layer", "weight", "penalty", "value", "share"]
    assert frame["penalty"][0] == "L2(l2=a schedule)"
    assert frame["value"].isna().all()
