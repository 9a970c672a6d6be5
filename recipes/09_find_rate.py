"""Which learning rate and which batch size? A range test and a look at the gradients' noise, before a training.

`kopt.find_batch_size` measures how fast a small CNN trains on 5,000 MNIST digits at several batch sizes, and how large
a batch its gradients ask for. `kopt.find_learning_rate` trains for a moment with a rising rate and suggests one. Both
leave no trace in the model. Then the same network is trained with the suggestion, and with a thirtieth and thirty times
of it, to see whether the suggestion was worth the test.

    python recipes/09_find_rate.py --optimizer SGD --epochs 4
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, optimizer_class, parsed, say_where, show
from digits import digits, network

FACTORS = {"a thirtieth": 1 / 30, "the suggestion": 1.0, "thirty times": 30.0}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training digits (default 3)")
    parser.add_argument("--digits", type=int, default=4000, help="training digits, at most 4000 (default 4000)")
    parser.add_argument("--optimizer", default="AdamW", help="a name of kopt.optimizers (default AdamW)")
    parser.add_argument("--largest", type=int, default=512, help="largest batch to measure (default 512)")
    parser.add_argument("--suggest", choices=["valley", "steepest", "minimum"], default="valley", help="which rate")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    return parsed(parser, argv, epochs=1, digits=64, largest=8)


def compiled(rate: float, options: argparse.Namespace) -> Any:
    """Returns the network, always from the same weights."""
    import keras

    keras.utils.set_random_seed(options.seed)
    model = network()
    optimizer = optimizer_class(options.optimizer, "--optimizer")(rate)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    return model


def trained(
    name: str, rate: float, size: int, data: Sequence[Any], run_dir: Path, options: argparse.Namespace
) -> list[str]:
    """Trains with one rate, as the highest of a schedule; returns a row of the table."""
    import kopt
    from kopt import schedules as s

    x, x_val, y, y_val = data
    schedule = s.Warmup(s.CosineDecay(rate, 1.0, by="fraction"), 0.1, by="fraction")
    model = compiled(schedule, options)
    board = kopt.callbacks.TensorBoard(str(run_dir / name.replace(" ", "-")), gradients=20)
    seen = model.fit(
        x, y, size, epochs=options.epochs, verbose=0, validation_data=(x_val, y_val), callbacks=[board]
    ).history
    return [name, f"{rate:.2g}", f"{seen['loss'][-1]:.4f}", f"{seen['val_accuracy'][-1]:.3f}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Finds a batch size and a rate, trains with it and with others, and prints where to look."""
    options = arguments(argv)
    import kopt

    x, x_val, y, y_val = digits()
    data = (x[: options.digits], x_val, y[: options.digits], y_val)
    run_dir = Path(options.log_dir) / time.strftime("find-rate-%Y%m%d-%H%M%S")
    model = compiled(1e-3, options)
    sizes = kopt.find_batch_size(model, data[0], data[2], largest=options.largest, seed=options.seed)
    sizes.save(run_dir / "batch-sizes.png")
    sys.stdout.write(f"{sizes}\n\n")
    size = min(sizes.suggestion, 64)  # Few digits: larger batches would leave too few steps.
    found = kopt.find_learning_rate(
        model, data[0], data[2], batch_size=size, suggest=options.suggest, seed=options.seed
    )
    found.save(run_dir / "rates.png")
    sys.stdout.write(f"{found}\n\n")
    rows = [trained(name, factor * found.suggestion, size, data, run_dir, options) for name, factor in FACTORS.items()]
    title = f"{options.optimizer}, batches of {size}, {options.epochs} epochs"
    show(title, ["learning rate", "highest", "loss", "val_accuracy"], rows)
    say_where(run_dir, options.log_dir)


if __name__ == "__main__":
    main()
