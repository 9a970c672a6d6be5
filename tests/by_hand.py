"""A small network with its gradients written out by hand in float64: what a monitor must report of each step.

The network: h = tanh(x K1 + b1), p = h K2 + b2, loss = mean (p - y)^2 + penalty, penalty = c sum K1^2. The optimizer is
plain gradient descent on clipped gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

LEARNING_RATE, PENALTY, BATCH = 0.5, 0.01, 4
PATHS = ("first/kernel", "first/bias", "second/kernel", "second/bias")
Arrays = list[np.ndarray]
Clip = Callable[[Arrays], Arrays]


def data(samples: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs with four features, some of them 0 throughout a batch, and targets with two."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, 4)).astype("float32")
    x[BATCH : 2 * BATCH, 1] = 0.0
    return x, np.sin(x @ rng.normal(size=(4, 2))).astype("float32")


def start() -> Arrays:
    """Returns the weights to start with, the same on each backend; the first bias is 0."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(scale=0.5, size=shape).astype("float32") for shape in ((4, 3), (3,), (3, 2), (2,))]
    return [weights[0], np.zeros_like(weights[1]), *weights[2:]]


def network() -> keras.Model:
    """Returns the network in Keras, at `start()`."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, "tanh", kernel_regularizer=keras.regularizers.L2(PENALTY), name="first"),
            keras.layers.Dense(2, name="second"),
        ]
    )
    model.set_weights(start())
    return model


@dataclass
class Seen:
    """What a monitor may see of one step; arrays are in the order of `PATHS`."""

    loss: float
    penalty: float
    gradients: Arrays
    clipped: Arrays
    before: Arrays
    updates: Arrays = field(repr=False)


def unclipped(gradients: Arrays) -> Arrays:
    """Returns the gradients."""
    return gradients


def global_norm(arrays: Sequence[np.ndarray]) -> float:
    """Returns the norm of all elements of all arrays."""
    return float(np.sqrt(sum((a**2).sum() for a in arrays)))


def loss_and_gradients(weights: Arrays, x: np.ndarray, y: np.ndarray) -> tuple[float, float, Arrays]:
    """Returns the loss, the penalty in it, and the gradients: forward and backward pass."""
    k1, b1, k2, b2 = weights
    h = np.tanh(x @ k1 + b1)
    error = h @ k2 + b2 - y
    penalty = PENALTY * (k1**2).sum()
    d_p = 2 * error / error.size
    d_h = (d_p @ k2.T) * (1 - h**2)
    gradients = [x.T @ d_h + 2 * PENALTY * k1, d_h.sum(0), h.T @ d_p, d_p.sum(0)]
    return float((error**2).mean() + penalty), float(penalty), gradients


def trained(epochs: int, clip: Clip = unclipped, micro_batches: int = 1) -> list[Seen]:
    """Returns each optimizer step of training on `data`, in order, unshuffled.

    Args:
        epochs: Passes over the data.
        clip: Clips the gradients of one step.
        micro_batches: Over how many batches gradients are averaged.
    """
    x, y = (array.astype("float64") for array in data())
    weights = [np.asarray(w, "float64") for w in start()]
    batches = [slice(i, i + BATCH) for i in range(0, len(x), BATCH)] * epochs
    seen, waiting = [], []
    for batch in batches:
        loss, penalty, gradients = loss_and_gradients(weights, x[batch], y[batch])
        waiting.append(gradients)
        if len(waiting) == micro_batches:
            mean = [np.mean(same, axis=0) for same in zip(*waiting, strict=True)]
            clipped, waiting = clip(mean), []
            updates = [LEARNING_RATE * g for g in clipped]
            seen.append(Seen(loss, penalty, mean, clipped, weights, updates))
            weights = [w - u for w, u in zip(weights, updates, strict=True)]
    return seen


def scalars(step: Seen) -> dict[str, float]:
    """Returns every number that the monitor logs of a step, by tag."""
    sizes = np.array([g.size for g in step.gradients])
    zeros = np.array([(g == 0).sum() for g in step.gradients])
    numbers = {
        "learning_rate": LEARNING_RATE,
        "loss/total": step.loss,
        "loss/regularization": step.penalty,
        "gradients/global_norm": global_norm(step.gradients),
        "gradients/global_norm_clipped": global_norm(step.clipped),
        "updates/global_norm": global_norm(step.updates),
        "gradients/zero_fraction": zeros.sum() / sizes.sum(),
        "gradients/nonfinite_fraction": 0.0,
    }
    for path, g, x, u in zip(PATHS, step.gradients, step.before, step.updates, strict=True):
        numbers |= {
            f"gradients_norm/{path}": np.linalg.norm(g),
            f"gradients_mean/{path}": g.mean(),
            f"gradients_std/{path}": g.std(),
            f"gradients_absmax/{path}": np.abs(g).max(),
            f"gradients_zero_fraction/{path}": (g == 0).mean(),
            f"gradients_nonfinite_fraction/{path}": 0.0,
            f"weights_norm/{path}": np.linalg.norm(x),
            f"updates_norm/{path}": np.linalg.norm(u),
            f"update_to_weight/{path}": np.linalg.norm(u) / np.linalg.norm(x) if x.any() else np.nan,
        }
    return numbers
