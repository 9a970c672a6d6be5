"""A small classifier of pictures and a training of it, for what a page shows."""

import keras
import numpy as np

from kopt import callbacks, optimizers, schedules

CLASSES = ("cat", "dog", "eel")
EPOCHS, BATCHES = 2, 4


def pictures():
    """Returns 32 pictures of three classes, brighter the higher the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=32)
    return (rng.random((32, 9, 9, 1)) + y.reshape(-1, 1, 1, 1)).astype("float32"), y


X, Y = pictures()


def classifier(outputs=3, activation="softmax"):
    parts = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=5)]
    return keras.Sequential(
        [keras.Input((9, 9, 1)), *parts, keras.layers.Dense(outputs, activation, name="head")], name="animals"
    )


def trained(log_dir, **options):
    """Trains a classifier with a schedule; returns model, history and monitor."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = classifier()
    optimizer = optimizers.AdamW(schedules.Warmup(schedules.CosineDecay(0.1, EPOCHS * BATCHES), 2), global_clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    monitor = callbacks.TensorBoard(log_dir, **options) if log_dir else None
    history = model.fit(
        X, Y, batch_size=8, epochs=EPOCHS, validation_data=(X[:9], Y[:9]), verbose=0,
        callbacks=[monitor] if monitor else [],
    )  # fmt: skip
    return model, history.history, monitor
