"""Do mixed images carry mixed labels? Images that show their class in their channels tell it pixel by pixel."""

import json

import keras
import numpy as np
import pytest
from compiling import dear_on_jax, others_dear_on_jax
from keras import ops

from kopt.layers import MixUpCutMix

CLASSES = 6
LABELS = np.arange(60) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def images(labels=LABELS, data_format="channels_last", height=8, width=10):
    """Channel k of an image of class k is 1, all others 0: the mean of a mixed image must be its label."""
    shown = np.broadcast_to(np.eye(CLASSES)[labels][:, None, None, :], (len(labels), height, width, CLASSES))
    shown = shown if data_format == "channels_last" else np.moveaxis(shown, -1, 1)
    return np.ascontiguousarray(shown, dtype="float32")


def arrays(made):
    parts = (made["images"], made["labels"]) if isinstance(made, dict) else made
    return tuple(np.asarray(ops.convert_to_numpy(part)) for part in parts)


def mixed(layer, labels=ONE_HOT, data_format="channels_last", **options):
    x, y = arrays(layer((images(data_format=data_format), labels), training=True, **options))
    return (x if data_format == "channels_last" else np.moveaxis(x, 1, -1)), y


@pytest.mark.parametrize(
    ("switch", "data_format"),
    others_dear_on_jax((0.5, "channels_first"), (0.0, "channels_last"), (1.0, "channels_last")),
)
def test_labels_are_mixed_as_the_pixels_are(switch, data_format):
    x, y = mixed(MixUpCutMix(switch=switch, data_format=data_format, seed=1), data_format=data_format)
    np.testing.assert_allclose(x.mean(axis=(1, 2)), y, atol=1e-5)
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-5)
    is_uniform = np.isclose(x, x[:, :1, :1]).all(axis=(1, 2, 3))
    is_mixed = y.max(axis=1) < 0.999
    assert is_mixed.mean() > 0.4
    if switch == 0.0:
        assert is_uniform.all()
    if switch == 1.0:
        assert np.isin(x, (0.0, 1.0)).all()
    if switch == 0.5:
        assert 0.2 < is_uniform[is_mixed].mean() < 0.8


def test_a_pasted_part_is_a_box():
    x, y = mixed(MixUpCutMix(switch=1.0, seed=2))
    for image, own, label in zip(x, LABELS, y, strict=True):
        pasted = image[..., own] == 0.0
        if pasted.any():
            rows, columns = np.flatnonzero(pasted.any(axis=1)), np.flatnonzero(pasted.any(axis=0))
            assert pasted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            np.testing.assert_allclose(label[own], 1 - pasted.mean(), atol=1e-6)


@dear_on_jax
def test_shares_have_the_beta_distribution_that_was_asked_for():
    """Beta(a, a): mean 1/2, variance 1 / (8 a + 4); the bounds are 5 standard errors."""
    labels = np.zeros((4000, 2), "float32")
    labels[:2000, 0] = labels[2000:, 1] = 1
    x = np.zeros((4000, 1, 1, 1), "float32")
    _, y = arrays(MixUpCutMix(mixup=0.4, switch=0.0, seed=3)((x, labels), training=True))
    shares = np.concatenate([y[:2000, 0], y[2000:, 1]])
    # The other image has the same label half of the time: then the mixed label is 1.
    shares = shares[shares < 0.99999]
    kept = shares - 0.5
    assert abs(kept.mean()) < 5 * kept.std() / np.sqrt(len(kept))
    assert abs((kept**2).mean() - 1 / 7.2) < 5 * (kept**2).std() / np.sqrt(len(kept)) + 2e-3  # what 0.99999 cut off


def test_the_probability_leaves_images_alone():
    x, y = mixed(MixUpCutMix(probability=0.0, seed=1))
    np.testing.assert_array_equal(x, images())
    np.testing.assert_array_equal(y, ONE_HOT)
    many = MixUpCutMix(probability=0.3, switch=0.0, seed=1)
    share = np.mean([(mixed(many)[1].max(axis=1) < 1).mean() for _ in range(20)])
    # Another image has another class five times in six, and Beta(0.8, 0.8) is almost never 0 or 1.
    assert abs(share - 0.3 * 50 / 59) < 5 * np.sqrt(0.25 * 0.75 / 1200)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], ONE_HOT], ids=["integers", "a column", "one-hot"])
def test_integer_labels_become_one_hot(labels):
    layer = MixUpCutMix(num_classes=CLASSES, seed=1)
    for training in (True, False):
        x, y = arrays(layer({"images": images(), "labels": labels}, training=training))
        assert y.shape == (60, CLASSES)
        np.testing.assert_allclose(x.mean(axis=(1, 2)), y, atol=1e-5)
    np.testing.assert_array_equal(x, images())
    np.testing.assert_array_equal(y, ONE_HOT)


def test_pairs_stay_pairs_and_uint8_becomes_float():
    data = [(255 * images()).astype("uint8"), LABELS]
    made = MixUpCutMix(num_classes=CLASSES, seed=1)(data, training=True)
    assert isinstance(made, list)
    assert all(keras.backend.standardize_dtype(part.dtype) == "float32" for part in made)
    np.testing.assert_allclose(arrays(made)[0].mean(axis=(1, 2)) / 255, arrays(made)[1], atol=1e-5)


def test_it_runs_in_a_tf_data_pipeline_on_every_backend():
    import tensorflow as tf

    layer = MixUpCutMix(num_classes=CLASSES, seed=1)
    data = tf.data.Dataset.from_tensor_slices((images(), LABELS)).batch(20).map(lambda *batch: layer(batch))
    batches = [(x.numpy(), y.numpy()) for x, y in data]
    assert len(batches) == 3
    for x, y in batches:
        np.testing.assert_allclose(x.mean(axis=(1, 2)), y, atol=1e-5)
    assert len({y.tobytes() for _, y in batches}) == 3


def test_in_a_model_with_labels_as_inputs():
    data = {"images": keras.Input((8, 10, CLASSES)), "labels": keras.Input((), dtype="int32")}
    layer = MixUpCutMix(num_classes=CLASSES, seed=1)
    out = layer(data)
    assert (out["images"].shape, out["labels"].shape) == ((None, 8, 10, CLASSES), (None, CLASSES))
    model = keras.Model(data, out)
    x, y = arrays(model({"images": images(), "labels": LABELS}, training=True))
    np.testing.assert_allclose(x.mean(axis=(1, 2)), y, atol=1e-5)
    assert (y.max(axis=1) < 1).any()
    np.testing.assert_array_equal(arrays(model({"images": images(), "labels": LABELS}, training=False))[1], ONE_HOT)


def test_the_config_survives_json():
    layer = MixUpCutMix(0.4, 0.7, 0.3, 0.9, CLASSES, "channels_first", 5, name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
    assert keras.saving.get_registered_name(MixUpCutMix) == "kopt>MixUpCutMix"
    for name in ("alpha", "cutmix", "switch", "probability", "num_classes", "data_format", "seed", "name"):
        assert getattr(again, name) == getattr(layer, name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixUpCutMix()(images()), "`data` must be a dict with .*Received: .*mix in the data pipeline"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), MixUpCutMix()]), "`data` must be a dict with"),
        (lambda: MixUpCutMix()({"images": images(), "labels": ONE_HOT, "boxes": ONE_HOT}), "and nothing else"),
        (lambda: MixUpCutMix()((images(), LABELS)), "`labels` must be one-hot.*Give `num_classes`"),
        (
            lambda: MixUpCutMix(num_classes=5)((images(), ONE_HOT)),
            "`labels` must be integers, or one-hot with 5 classes",
        ),
        (lambda: MixUpCutMix()((images()[0], ONE_HOT)), "`images` must be a batch of images"),
        (lambda: MixUpCutMix(mixup=0.0), "`mixup` must be a finite number > 0"),
        (lambda: MixUpCutMix(cutmix=-1.0), "`cutmix` must be a finite number > 0"),
        (lambda: MixUpCutMix(switch=1.5), r"`switch` must be a number in \[0, 1\]"),
        (lambda: MixUpCutMix(probability=None), "`probability` must be a number"),
        (lambda: MixUpCutMix(num_classes=1), "`num_classes` must be an integer >= 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
