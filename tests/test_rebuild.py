"""Models made anew from their configs: weights, penalties, rates, and what cannot be made anew."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kopt.tuning.rebuild import rebuilt
from kopt.tuning.wanted import Wanted

KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
FACTOR = 3.0
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def mlp(dropout=0.1):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dropout(dropout), layers.Dense(1, "sigmoid")]
    )


def tripled(x):
    return FACTOR * x


def functional():
    x = keras.Input((4,), name="table")
    shared = layers.Dense(4, kernel_regularizer="l1")
    h = layers.Dropout(0.7)(shared(shared(x)))
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dropout(0.3)], name="tower")
    h = layers.Add()([h, layers.Lambda(lambda t: FACTOR * ops.tanh(t))(tower(h))])
    y = layers.Dense(1, activation=tripled)(layers.Dense(2, activation=lambda t: FACTOR * t)(h))
    return keras.Model({"table": x}, {"y": y})


def recurrent():
    cells = layers.Bidirectional(layers.GRU(3, dropout=0.1, recurrent_dropout=0.2, return_sequences=True))
    return keras.Sequential([keras.Input((5, 3)), cells, layers.TimeDistributed(layers.Dense(3)), layers.LSTM(2)])


def attention():
    x = keras.Input((5, 8))
    h = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x))
    return keras.Model(x, layers.Dense(1)(layers.SpatialDropout1D(0.4)(h)))


def convolutional():
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.SeparableConv2D(3, 3), layers.BatchNormalization(), layers.DepthwiseConv2D(2),
         layers.SpatialDropout2D(0.2), layers.SpectralNormalization(layers.Conv2D(2, 1)), layers.GaussianDropout(0.1),
         layers.Flatten(), layers.Dense(1)]
    )  # fmt: skip


on_one = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="configs do not depend on the backend")
MODELS = [mlp, functional, *(pytest.param(make, marks=on_one) for make in (recurrent, attention, convolutional))]


def called(model):
    shapes = {"functional": (2, 4), "recurrent": (2, 5, 3), "attention": (2, 5, 8), "convolutional": (2, 6, 6, 2)}
    data = np.random.default_rng(1).normal(size=shapes.get(model.made_by, (2, 4))).astype("float32")
    found = model.predict({"table": data} if model.made_by == "functional" else data, verbose=0)
    return keras.tree.flatten(found)[0]


def made(make):
    model = make()
    model.made_by = make.__name__
    return model


def kernels_of(model):
    """Returns each kernel once: shared layers have one, wrapped ones are not those of the wrapper again."""
    found = {id(v): v for v in model.trainable_variables if v.name in KERNELS}
    return [ops.convert_to_numpy(v) for v in found.values()]


@pytest.mark.parametrize("make", MODELS)
def test_a_model_made_anew_has_fresh_weights_the_penalty_and_the_rates(make):
    model = made(make)
    before = [np.array(w) for w in model.get_weights()]
    wanted = Wanted.of({"l1": 0.25, "l2": 0.5, "dropout": 0.125, "batch_size": 3}, model)
    new = rebuilt(model, wanted)
    assert [w.shape for w in new.weights] == [w.shape for w in model.weights]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    for old, fresh in zip(kernels_of(model), kernels_of(new), strict=True):
        assert not np.array_equal(old, fresh)
    # Attention's kernels and all others, by the formula.
    expected = sum(0.25 * np.abs(k).sum() + 0.5 * np.square(k).sum() for k in kernels_of(new))
    np.testing.assert_allclose(sum(float(ops.convert_to_numpy(loss)) for loss in new.losses), expected, rtol=1e-4)
    rates = [
        getattr(layer, name)
        for layer in new._flatten_layers()
        for name in ("rate", "dropout", "recurrent_dropout")
        if isinstance(getattr(layer, name, None), float) and getattr(layer, name) > 0
    ]
    assert rates
    assert set(rates) == {0.125}


@pytest.mark.parametrize("make", MODELS)
def test_a_model_made_anew_with_its_weights_predicts_the_same(make):
    model = made(make)
    new = rebuilt(model, Wanted(l2=0.5), keep_weights=True)
    new.made_by = model.made_by
    np.testing.assert_array_equal(called(model), called(new))
    assert [layer.name for layer in model.layers] == [layer.name for layer in new.layers]
    assert model.input_names == new.input_names if hasattr(model, "input_names") else True


def test_a_penalty_of_zero_takes_away_what_the_model_had():
    assert functional().losses
    assert not rebuilt(functional(), Wanted(l1=0.0, l2=0.0)).losses
    assert rebuilt(functional(), Wanted()).losses


def test_dropout_that_is_off_inside_a_layer_stays_off():
    model = keras.Sequential([keras.Input((5, 3)), layers.GRU(2), layers.Dropout(0.5)])
    new = rebuilt(model, Wanted(dropout=0.25))
    assert (new.layers[0].dropout, new.layers[0].recurrent_dropout, new.layers[1].rate) == (0.0, 0.0, 0.25)


def test_a_compiled_model_is_made_anew_without_what_it_was_compiled_with():
    model = mlp()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    assert model.compiled
    assert not rebuilt(model, Wanted()).compiled


def test_frozen_layers_and_adapted_ones_keep_what_they_have_learnt():
    norm = layers.Normalization()
    norm.adapt(5 * X + 1)
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)])
    model.layers[1].trainable = False
    model.layers[2].trainable = False
    model.layers[2].set_weights([np.full(3, value) for value in (2.0, 3.0, 4.0, 5.0)])
    new = rebuilt(model, Wanted(l2=0.1))
    assert [layer.trainable for layer in new.layers] == [layer.trainable for layer in model.layers]
    for kept in (0, 1, 2):
        for old, weight in zip(model.layers[kept].get_weights(), new.layers[kept].get_weights(), strict=True):
            np.testing.assert_array_equal(old, weight)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m.layers[0](X)) for m in (model, new)))
    assert not np.array_equal(model.layers[3].get_weights()[0], new.layers[3].get_weights()[0])
    assert len(new.losses) == 1  # A frozen layer has no penalty.


class Block(layers.Layer):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.dense = layers.Dense(4)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)


def test_what_is_frozen_inside_a_layer_stays_frozen():
    model = keras.Sequential([keras.Input((4,)), Block(), Block(), layers.Dense(1)])
    model.layers[0].dense.trainable = False
    new = rebuilt(model, Wanted())
    assert [v.name for v in new.trainable_variables] == ["kernel", "bias"] * 2
    same = [np.array_equal(*(m.layers[i].dense.get_weights()[0] for m in (model, new))) for i in (0, 1)]
    assert same == [True, False]
    model.trainable = False
    assert not rebuilt(model, Wanted()).trainable_variables


def test_layers_of_the_user_need_no_registration():
    class Scaled(layers.Layer):
        def __init__(self, size, kernel_regularizer=None, **keywords):
            super().__init__(**keywords)
            self.size = size
            self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1],), regularizer=self.kernel_regularizer)

        def call(self, x):
            return self.size * x * self.kernel

        def get_config(self):
            penalty = keras.regularizers.serialize(self.kernel_regularizer)
            return super().get_config() | {"size": self.size, "kernel_regularizer": penalty}

    new = rebuilt(keras.Sequential([keras.Input((4,)), Scaled(2.0), layers.Dense(1)]), Wanted(l2=0.5))
    assert type(new.layers[0]) is Scaled
    assert len(new.losses) == 2


class DropPath(layers.Layer):
    def __init__(self, rate, **keywords):
        super().__init__(**keywords)
        self.rate = keras.Variable(rate, trainable=False)  # as in kopt's own, where a schedule can assign it

    def call(self, x):
        return x

    def get_config(self):
        return super().get_config() | {"rate": float(ops.convert_to_numpy(self.rate))}


def test_drop_paths_keep_their_proportion_to_the_largest():
    model = keras.Sequential([keras.Input((4,)), *map(DropPath, (0.0, 0.1, 0.2)), layers.Dense(1)])
    new = rebuilt(model, Wanted.of({"drop_path": 0.5}, model))
    rates = [float(ops.convert_to_numpy(layer.rate)) for layer in new.layers[:3]]
    np.testing.assert_allclose(rates, [0.0, 0.25, 0.5], rtol=1e-6)


def without_config():
    class Mine(keras.Model):
        def __init__(self, units, dense):
            super().__init__()
            self.dense = dense

        def call(self, x):
            return self.dense(x)

    return Mine(3, layers.Dense(1))


def shared_between_models():
    shared = layers.Dense(4)
    first = keras.Sequential([keras.Input((4,)), shared])
    second = keras.Sequential([keras.Input((4,)), layers.Dense(4), shared])
    x = keras.Input((4,))
    return keras.Model(x, [first(x), second(x)])


@pytest.mark.parametrize(
    ("make", "wanted", "message"),
    [
        (without_config, Wanted(), "function that builds the model"),
        (shared_between_models, Wanted(), "nested models share one.*function"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)]), Wanted(dropout=0.1), "no dropout layers"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dropout(0.1)]), Wanted(l2=0.1), "no kernels"),
        (mlp, Wanted(drop_path=0.1), "no `DropPath` layers"),
        (lambda: keras.Sequential([keras.Input((4,)), Block(), layers.Dense(1)]), Wanted(l2=0.1), "reach every layer"),
    ],
)
def test_what_cannot_be_made_anew_says_why_and_what_to_do(make, wanted, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        rebuilt(make(), wanted)
