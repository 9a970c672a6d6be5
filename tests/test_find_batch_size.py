"""The search for a batch size: the knee, the end of memory, the noise of the gradients, and that no trace is left."""

import math

import keras
import numpy as np
import probed
import pytest
from keras import ops

import kopt
from kopt import optimizers
from kopt.probing import BatchSizes
from kopt.probing.memory import is_out_of_memory
from kopt.testing import problems

BACKEND = keras.backend.backend()


def eaten(x):
    """Runs inside TensorFlow's graph, which reports the error as its own."""
    if len(x) > 32:
        raise MemoryError
    return x


class Hungry(keras.layers.Layer):
    """Asks for more memory than there is, at the time of the step, when a batch has more than 32 rows."""

    def call(self, x):
        rows = ops.shape(x)[0]
        if BACKEND == "tensorflow":
            import tensorflow as tf

            return tf.ensure_shape(tf.py_function(eaten, [x], x.dtype), x.shape)
        if isinstance(rows, int) and rows > 32:
            if BACKEND == "jax":  # XLA would not compute what nobody needs.
                raise MemoryError("Out of memory")
            return x + ops.sum(ops.zeros((rows, 2**36)))
        return x


def test_the_end_of_memory_is_found_and_leaves_no_trace():
    x, y = probed.digits(128)
    courses = []
    for probe in (True, False):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((64,)), Hungry(), keras.layers.Dropout(0.3), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.AdamW(1e-3), loss, metrics=["accuracy"], jit_compile=BACKEND == "jax")
        before = probed.state(model)
        if probe:
            found = kopt.find_batch_size(model, x, y, smallest=16, steps=1)
            problems.assert_same(before, probed.state(model))
        model.fit(x, y, batch_size=32, epochs=1, verbose=0)
        courses.append([*probed.state(model), *probed.chance()])
    assert found.sizes.tolist() == [16, 32]
    assert found.too_large == 64
    assert "A batch of 64 did not fit into memory." in str(found)
    problems.assert_same(*courses)
    with pytest.raises(ValueError, match=r"`smallest` must be a batch that fits into memory\. Received: smallest=64"):
        kopt.find_batch_size(model, x, y, smallest=64)


def test_the_critical_batch_size_is_that_of_the_gradients():
    """The loss is the mean of w x: one example's gradient is the example, so that tr(S) / |G|^2 is known."""
    rng = np.random.default_rng(0)
    x = (0.3 + rng.normal(size=(4096, 50)) * 2.0).astype("float32")
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", loss=lambda y, out: ops.mean(out, axis=-1))
    found = kopt.find_batch_size(model, x, np.zeros((4096, 1)), smallest=256, largest=256, steps=1)
    assert found.critical == pytest.approx(4.0 / 0.09, rel=0.2)
    assert found.sizes.tolist() == [256]
    assert found.stopped == ""


def table(throughput, **options):
    sizes = 8 * 2 ** np.arange(len(throughput))
    return BatchSizes(sizes, sizes / np.array(throughput), **options)


def test_the_knee_of_known_throughputs(tmp_path):
    found = table([100, 200, 390, 700, 850, 900])
    assert found.knee == 128
    assert found.suggestion == 128
    assert "<- knee" in str(found).splitlines()[5]
    assert "not known" in str(found)
    assert table([100, 200, 390, 700, 850, 900], critical=20.0).suggestion == 128
    assert table([100, 200, 390, 700, 850, 900], critical=300.0).suggestion == 256
    picture = table([100, 200, 300], critical=20.0, too_large=64).save(tmp_path / "new" / "sizes.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_named():
    x, y = probed.digits(64)
    model = probed.noisy("sgd")
    with pytest.raises(ValueError, match="`x` must be arrays"):
        kopt.find_batch_size(model, iter([(x, y)]))
    with pytest.raises(ValueError, match="`largest` must be an integer >= 8"):
        kopt.find_batch_size(model, x, y, largest=4)
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        kopt.find_batch_size(model, x[:, :5], y)
    assert "memory" not in str(caught.value)


@pytest.mark.skipif(BACKEND != "torch", reason="no backend is involved: once is enough")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_messages_of_memory(error, expected):
    assert is_out_of_memory(error) is expected
    assert math.isnan(BatchSizes(np.ones(1), np.ones(1)).critical)
