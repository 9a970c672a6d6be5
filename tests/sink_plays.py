"""A sink that keeps everything, and fits that are played without training."""

import keras
import monitored

from kopt import callbacks
from kopt._backend import watch


class Recorder(callbacks.Sink):
    """Keeps every call."""

    def __init__(self):
        self.calls, self.points, self.histograms = [], {}, {}

    def open(self, config):
        self.calls.append(("open", dict(config)))

    def scalars(self, values, step):
        self.calls.append(("scalars", step))
        for tag, value in values.items():
            assert type(value) is float
            self.points.setdefault(tag, []).append((step, value))

    def histogram(self, tag, edges, counts, step):
        self.histograms.setdefault(tag, []).append((step, edges, counts))

    def text(self, tag, text):
        self.calls.append(("text", tag, text))

    def flush(self):
        self.calls.append(("flush",))

    def close(self):
        self.calls.append(("close",))

    def names(self):
        return [call[0] for call in self.calls if call[0] != "scalars"]


class At(keras.callbacks.Callback):
    """Does something when an epoch begins."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch, self.action = epoch, action

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action()


def compiled(optimizer=None, **options):
    """Returns a compiled model; eager on TensorFlow, which is quicker there."""
    model = monitored.mlp()
    model.compile(optimizer or monitored.adam(), "mse", **{"run_eagerly": monitored.BACKEND == "tensorflow"} | options)
    model.optimizer.build(model.trainable_variables)
    return model


def play(model, *beside, epochs=1):
    """Calls callbacks as a `fit` of four batches an epoch does, with a loss of 1, 1/2, 1/3, ..., without training."""
    hooks = keras.callbacks.CallbackList(beside, model=model, epochs=epochs, steps=4)
    hooks.on_train_begin()
    for epoch in range(epochs):
        hooks.on_epoch_begin(epoch)
        watch.innermost(model.optimizer)._iterations.assign_add(4)
        hooks.on_epoch_end(epoch, {"loss": 1 / (epoch + 1)})
    hooks.on_train_end()
