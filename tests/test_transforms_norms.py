"""What trust ratios and factored second moments do where the catalogue's rows cannot say it."""

import keras
import numpy as np
import pytest
from keras import ops
from references.norms import LAMB
from test_parity import assert_same_path, problem, reference_path, trained

from kopt import optimizers, transforms

ADAM = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}


def slot_shapes(optimizer, layer, *inputs):
    """Returns the shapes of the state of a layer's kernels, by layer and name: `("query", "input_velocity")`."""
    layer.build(*inputs)
    kernels = [variable for variable in layer.trainable_variables if variable.name == "kernel"]
    optimizer.build(kernels)
    names = [slot.name.partition("_kernel_") for slot in optimizer.slot_variables]
    owners = [owner.rsplit("_", 1)[-1] for owner, _, _ in names]
    shapes = [tuple(slot.shape) for slot in optimizer.slot_variables]
    return dict(zip(zip(owners, [kind for _, _, kind in names], strict=True), shapes, strict=True))


def test_a_trust_ratio_behind_adamw_leaves_the_decay_alone():
    class DecayOutside(LAMB):
        def step(self, x, g):
            return super().step(x, g) - 0.02 * 0.3 * x

    start, gradients = problem()
    optimizer = optimizers.AdamW(0.02, **ADAM, weight_decay=0.3, after=[transforms.TrustRatio()])
    path = reference_path(lambda: DecayOutside(0.02, **ADAM), start, gradients)
    assert_same_path(trained(optimizer, start, gradients), path)


@pytest.mark.parametrize("scale_vectors", [True, False])
def test_variables_that_are_zero_get_away_from_there(scale_vectors):
    start, gradients = problem()
    optimizer = optimizers.LARS(0.1, 0.0, trust_coefficient=0.5, scale_vectors=scale_vectors)
    (path,) = trained(optimizer, [np.zeros_like(x) for x in start], gradients[:1])
    for x, g in zip(path, gradients[0], strict=True):
        np.testing.assert_allclose(x, -0.1 * g, rtol=1e-6)


@pytest.mark.parametrize("optimizer_class", [optimizers.LAMB, optimizers.LARS])
def test_variables_without_gradients_stay(optimizer_class):
    start, gradients = problem()
    (path,) = trained(optimizer_class(0.1), start, [[np.zeros_like(g) for g in gradients[0]]])
    assert_same_path([path], [start], rtol=0, atol=0)


@pytest.mark.parametrize(
    "transform", [transforms.TrustRatio(weight_decay=None), transforms.ScaleByStableAdam(weight_decay=None)]
)
def test_decay_inside_a_transform_is_not_added_again_behind_it(transform):
    start, gradients = problem()
    kwargs = {"learning_rate": 0.02, "weight_decay": 0.3}
    filled = transform.with_weight_decay(0.3)
    once = optimizers.Composed([filled, transforms.ScaleByLearningRate()], 0.02)
    assert_same_path(
        trained(optimizers.Composed([transform], **kwargs), start, gradients), trained(once, start, gradients)
    )


@pytest.mark.parametrize("kind", [optimizers.Adafactor, optimizers.CAME])
def test_rows_are_inputs_and_columns_outputs(kind):
    shapes = slot_shapes(kind(), keras.layers.Conv2D(7, (2, 3), name="conv"), (None, 8, 8, 5))
    assert (shapes["conv", "input_velocity"], shapes["conv", "output_velocity"]) == ((2 * 3 * 5,), (7,))
    shapes = slot_shapes(kind(), keras.layers.MultiHeadAttention(2, 3), (None, 4, 11), (None, 4, 11))
    for name in ("query", "key", "value"):
        assert (shapes[name, "input_velocity"], shapes[name, "output_velocity"]) == ((11,), (2 * 3,))
    assert (shapes["output", "input_velocity"], shapes["output", "output_velocity"]) == ((2 * 3,), (11,))


@pytest.mark.parametrize("kind", [optimizers.Adafactor, optimizers.CAME])
@pytest.mark.parametrize("scale", [1.0, 1e6])
@pytest.mark.parametrize("epsilon", [0.0, 1e-30])
def test_rows_and_columns_without_gradients_stay_finite_and_still(kind, scale, epsilon):
    gradient = scale * np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    gradient[2], gradient[:, 1] = 0.0, 0.0
    x = keras.Variable(np.ones((4, 3), "float32"))
    optimizer = kind(0.01, epsilon_1=epsilon)
    for _ in range(3):
        optimizer.apply([ops.convert_to_tensor(gradient)], [x])
    moved = ops.convert_to_numpy(x.value) != 1.0
    np.testing.assert_array_equal(moved, gradient != 0)
    assert np.isfinite(ops.convert_to_numpy(x.value)).all()
