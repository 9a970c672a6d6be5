"""Five sick runs and a healthy one: `kopt.callbacks.Diagnose` says what is wrong with each, and what would mend it.

The same network learns 5,000 real MNIST digits, each time with another mistake of the kind that everyone makes:

    healthy        nothing is wrong
    double softmax the output is a softmax, and the loss applies one more
    raw pixels     0 to 255, as they come out of a file, and some NaN among them
    rate too high  Adam with a learning rate of 1
    dead units     biases of -10: no ReLU ever fires
    by heart       labels that have been shuffled apart from their digits

What is found also stands in each run's directory: `kopt diagnose logs/doctor-.../raw-pixels` finds it again, and
TensorBoard has it on its "Text" page.

    python recipes/08_doctor.py --epochs 8 --only "by heart" healthy
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from console import chosen, command_line, parsed, say_where, show
from digits import digits

BATCH_SIZE = 50


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training digits (default 12)")
    parser.add_argument("--digits", type=int, default=1000, help="number of training digits (default 1,000)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the runs (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, labels and batches (default 0)")
    return parsed(parser, argv, epochs=1, digits=BATCH_SIZE)


def network(**options: Any) -> Any:
    """Returns a network of two hidden layers; `options` are theirs."""
    import keras
    from keras import layers

    parts = [
        keras.Input((28, 28, 1)),
        layers.Flatten(),
        layers.Dense(64, "relu", name="hidden1", **options),
        layers.Dense(64, "relu", name="hidden2", **options),
        layers.Dense(10, "softmax", name="digit"),
    ]
    return keras.Sequential(parts, name="patient")


def patients(x: Any, y: Any, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Returns by name what makes a run: `x`, `y` and `model`, and where they differ `loss` and `rate`."""
    import keras
    import numpy as np

    def raw() -> dict[str, Any]:
        pixels = 255 * x
        pixels[3, 14, 14] = np.nan
        return {"x": pixels, "y": y, "model": network()}

    def shuffled() -> dict[str, Any]:
        return {"x": x, "y": np.random.default_rng(seed).permutation(y), "model": network()}

    twice = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    dead = keras.initializers.Constant(-10.0)
    return {
        "healthy": lambda: {"x": x, "y": y, "model": network()},
        "double softmax": lambda: {"x": x, "y": y, "model": network(), "loss": twice},
        "raw pixels": raw,
        "rate too high": lambda: {"x": x, "y": y, "model": network(), "rate": 1.0},
        "dead units": lambda: {"x": x, "y": y, "model": network(bias_initializer=dead)},
        "by heart": shuffled,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains each, prints what the doctor says, and returns the codes of the findings."""
    options = arguments(argv)
    x, x_val, y, y_val = digits()
    x, y = x[: options.digits], y[: options.digits]
    wanted = chosen(options.only, patients(x, y, options.seed))
    import keras

    import kopt

    run_dir = Path(options.log_dir) / f"doctor-{time.strftime('%Y%m%d-%H%M%S')}"
    found, rows = {}, []
    for name, make in wanted.items():
        keras.utils.set_random_seed(options.seed)
        run = make()
        loss = run.get("loss", "sparse_categorical_crossentropy")
        optimizer = kopt.optimizers.Adam(run.get("rate", 1e-3))
        run["model"].compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        place = str(run_dir / name.replace(" ", "-"))
        doctor = kopt.callbacks.Diagnose(run["x"], run["y"], validation_probe=(x_val, y_val), log_dir=place)
        board = kopt.callbacks.TensorBoard(place, gradients=10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # What they say is printed below.
            history = run["model"].fit(
                run["x"], run["y"], BATCH_SIZE, options.epochs, verbose=0, validation_data=(x_val, y_val),
                callbacks=[doctor, board],
            ).history  # fmt: skip
        found[name] = [finding.code for finding in doctor.report()]
        rows.append((name, f"{history['val_accuracy'][-1]:.3f}", ", ".join(found[name]) or "nothing wrong"))
        sys.stdout.write(f"{name}\n")
        for finding in doctor.report():
            sys.stdout.write(f"    {finding.code}: {finding.sentence}\n    -> {finding.advice}\n")
        sys.stdout.flush()
    show(f"{len(x)} digits, {options.epochs} epochs", ("run", "validation accuracy", "the doctor says"), rows)
    say_where(run_dir, run_dir)
    return {"found": found, "run_dir": str(run_dir)}


if __name__ == "__main__":
    main()
