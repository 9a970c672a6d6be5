"""Trainings on several devices, as the backend spreads them; `conftest.py` asks for two."""

import contextlib
import functools

import keras


@functools.cache
def _strategy():
    """Returns the one strategy: TensorFlow numbers collectives anew in each, and those of two would meet."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@contextlib.contextmanager
def mirrored():
    """Trains on two devices, with TensorFlow."""
    with _strategy().scope():
        yield


@contextlib.contextmanager
def distributed(make):
    """Trains as the distribution that `make` returns says, with JAX; None: on one device."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(make())
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def data_parallel():
    """Returns a distribution of the batch over two devices."""
    devices = keras.distribution.list_devices("cpu")
    assert len(devices) == 2
    return keras.distribution.DataParallel(devices=devices)


def model_parallel():
    """Returns a distribution of the first kernel over two devices."""
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], keras.distribution.list_devices("cpu")[:2])
    layout = keras.distribution.LayoutMap(mesh)
    layout["second/kernel"] = (None, None)
    layout["first/kernel"] = ("model", None)
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
