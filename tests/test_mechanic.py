"""Does Mechanic find a rate that was not given to it?"""

import keras
import numpy as np
import pytest
from keras import ops

from kopt import optimizers, transforms

CURVATURES = np.array([1.0, 3.0, 10.0], "float32")


def descend(make, steps):
    """Returns the losses of a quadratic, and the scales that were found."""
    optimizer, x = make(), keras.Variable(np.array([1.0, -2.0, 0.5], "float32"), name="x")
    losses, scales = [], []
    for _ in range(steps):
        value = ops.convert_to_numpy(x)
        losses.append(float(0.5 * np.sum(CURVATURES * value**2)))
        optimizer.apply([ops.convert_to_tensor(CURVATURES * value)], [x])
        scales.append(float(ops.convert_to_numpy(optimizer.estimates["scale"])))
    return np.array(losses), np.array(scales)


@pytest.mark.parametrize("s_init", [1e-8, 1e-6])
def test_the_scale_grows_by_orders_of_magnitude_until_it_helps(s_init):
    losses, scales = descend(lambda: optimizers.Adam(1.0, after=[transforms.Mechanic(s_init=s_init)]), 300)
    assert scales.max() > 1e4 * s_init
    assert losses[-1] < 1e-2 * losses[0]


def test_a_rate_a_hundred_times_too_large_is_scaled_down():
    losses, scales = descend(lambda: optimizers.SGD(100.0, after=[transforms.Mechanic()]), 300)
    assert scales[-1] < 0.01
    assert losses[-1] < 1e-2 * losses[0]
    plain = keras.Variable(np.ones(3, "float32"))
    optimizer = optimizers.SGD(100.0)
    optimizer.apply([ops.convert_to_tensor(CURVATURES)], [plain])
    assert np.abs(ops.convert_to_numpy(plain)).max() > 100  # Without Mechanic it is too large indeed.
