"""Learning-rate schedules on one task: a picture of them, and what each does to the same network in the same steps.

AdamW trains a small CNN on 5,000 MNIST digits, each time from the same weights and with the same batches. All lengths
are fractions of the run (`by="fraction"`), so that `--epochs` stretches the schedules with it, and every schedule gets
the same highest rate, `--learning-rate`. With so few digits a percent is luck: change `--seed` and the order changes.

    python recipes/04_schedules.py --epochs 6 --only Constant "warm cosine" OneCycle
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import chosen, command_line, parsed, say_where, show
from digits import digits, network

BATCH_SIZE = 64


def gallery(rate: float) -> dict[str, Any]:
    """Returns the schedules to compare, by name; each reaches the same highest rate."""
    from kopt import schedules as s

    def part(kind: Any, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, by="fraction", **options)

    return {
        "Constant": s.Constant(rate),
        "StepDecay": part(s.StepDecay, rate, 1 / 3, 0.3),
        "ExponentialDecay": part(s.ExponentialDecay, rate, 0.01),
        "Linear": part(s.Linear, rate, 1.0),
        "CosineDecay": part(s.CosineDecay, rate, 1.0),
        "warm cosine": part(s.Warmup, part(s.CosineDecay, rate, 1.0), 0.1),
        "floored restarts": s.maximum(part(s.CosineRestarts, rate, 1 / 7), 0.05 * rate),
        "REX": part(s.REX, rate, 1.0),
        "WarmupStableDecay": part(s.WarmupStableDecay, rate, 0.1, 0.6, 0.3, shape="sqrt"),
        "OneCycle": part(s.OneCycle, rate, 1.0),
        "Cyclic": part(s.Cyclic, 0.05 * rate, rate, 0.1, mode="triangular2"),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=4, help="passes over the training digits (default 4)")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="the highest of each schedule (default 0.01)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the schedules (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    parser.add_argument("--gradients", type=int, default=20, help="log gradients every so many steps (default 20)")
    return parsed(parser, argv, epochs=1)


def train(
    schedule: Any, data: tuple[Any, Any, Any, Any], directory: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Trains one network; returns what the table shows."""
    import keras

    import kopt

    keras.utils.set_random_seed(options.seed)
    x, x_val, y, y_val = data
    model = network()
    optimizer = kopt.optimizers.AdamW(schedule, weight_decay=0.01)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    # The callback tells the schedule how many steps the run has.
    board = kopt.callbacks.TensorBoard(str(directory), gradients=options.gradients, update_freq="batch")
    history = model.fit(
        x, y, BATCH_SIZE, options.epochs, verbose=0, callbacks=[board], validation_data=(x_val, y_val)
    ).history
    return {
        "accuracy": history["val_accuracy"][-1],
        "loss": history["val_loss"][-1],
        "halfway": history["val_accuracy"][(len(history["val_accuracy"]) - 1) // 2],
        "training loss": history["loss"][-1],
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Draws the schedules, trains with each, prints the table, and returns its figures."""
    options = arguments(argv)
    schedules = chosen(options.only, gallery(options.learning_rate))
    data = digits()
    steps = options.epochs * -(-len(data[0]) // BATCH_SIZE)
    run_dir = Path(options.log_dir) / f"schedules-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir.mkdir(parents=True)
    import kopt

    kopt.schedules.plot(schedules, steps, str(run_dir / "schedules.png"))
    results = {}
    for name, schedule in schedules.items():
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        results[name] = train(schedule, data, run_dir / name.replace(" ", "-"), options)
    rows = [
        (name, f"{r['accuracy']:.3f}", f"{r['loss']:.4f}", f"{r['halfway']:.3f}", f"{r['training loss']:.4f}")
        for name, r in sorted(results.items(), key=lambda item: item[1]["loss"])
    ]
    columns = ("schedule", "validation accuracy", "validation loss", "accuracy halfway", "training loss")
    show(f"AdamW, {steps} steps of {BATCH_SIZE} digits each, at most {options.learning_rate:g}", columns, rows)
    sys.stdout.write(f"The schedules in one picture: {run_dir / 'schedules.png'}\n")
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir), "steps": steps}


if __name__ == "__main__":
    main()
