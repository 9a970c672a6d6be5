"""Trains a small CNN on 5,000 real MNIST digits with AdamW, warm-up and cosine decay, and logs its gradients.

Run it with `make demo`, or `python recipes/01_first_run.py --help`. It needs `pip install "keras-kopt[recipes]"`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, optimizer_class, parsed, say_where, show
from digits import digits

BATCH_SIZE = 64


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=12, help="passes over the 4,000 training digits (default 12)")
    parser.add_argument("--optimizer", default="AdamW", help="any of kopt.optimizers (default AdamW)")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="peak learning rate (default 0.005)")
    parser.add_argument("--gradients", type=int, default=20, help="log gradients every so many steps (default 20)")
    return parsed(parser, argv, epochs=1)


def network() -> Any:
    """Returns a CNN with batch normalisation, of about 110,000 weights."""
    import keras
    from keras import layers

    parts: list[Any] = [keras.Input((28, 28, 1))]
    for number, filters in enumerate((16, 32), start=1):
        parts += [
            layers.Conv2D(filters, 3, use_bias=False, name=f"conv{number}"),
            layers.BatchNormalization(name=f"norm{number}"),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    head = [
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dropout(0.4),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
    return keras.Sequential(parts + head, name="digits_cnn")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains, reports, and returns the figures."""
    options = arguments(argv)
    import keras

    import kopt

    keras.utils.set_random_seed(0)
    x, x_val, y, y_val = digits()
    steps_per_epoch = -(-len(x) // BATCH_SIZE)
    steps = steps_per_epoch * options.epochs
    schedule = kopt.schedules.Warmup(
        kopt.schedules.CosineDecay(options.learning_rate, steps), steps=max(1, min(steps // 10, steps_per_epoch))
    )
    optimizer = optimizer_class(options.optimizer, "--optimizer")(schedule, global_clipnorm=2.0)
    board = kopt.callbacks.TensorBoard(
        options.log_dir,
        name="first-run",
        gradients=options.gradients,
        gradient_histograms=True,
        hparams={"optimizer": options.optimizer, "learning_rate": options.learning_rate, "batch_size": BATCH_SIZE},
        samples=(x_val[:500], y_val[:500]),
    )
    run_dir = Path(board.log_dir)

    model = network()
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    history = model.fit(
        x,
        y,
        BATCH_SIZE,
        options.epochs,
        verbose="auto" if sys.stdout.isatty() else 2,
        callbacks=[board],
        validation_data=(x_val, y_val),
    )
    seconds = time.perf_counter() - start

    norms = {tag.split("/", 1)[1]: v for tag, v in board.latest.items() if tag.startswith("gradients_norm/")}
    largest, smallest = max(norms, key=norms.__getitem__), min(norms, key=norms.__getitem__)
    accuracy = history.history["val_accuracy"][-1]
    results = {
        "optimizer": f"{type(optimizer).__name__} on {keras.backend.backend()}",
        "validation accuracy": f"{accuracy:.4f}",
        "steps per second": f"{steps / seconds:.1f}  ({steps} steps in {seconds:.0f} s, compilation included)",
        "largest layer gradient norm": f"{norms[largest]:.4g}  ({largest}, last logged step)",
        "smallest layer gradient norm": f"{norms[smallest]:.4g}  ({smallest}, last logged step)",
    }
    show("First run", ("result", "value"), list(results.items()))
    say_where(run_dir, options.log_dir)
    return {"accuracy": accuracy, "run_dir": str(run_dir), "steps": steps}


if __name__ == "__main__":
    main()
