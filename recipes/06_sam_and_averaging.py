"""Flat minima and averaged weights: the same network in the same steps, trained to do better on digits it has not seen.

A CNN with batch normalisation learns from 1,000 MNIST digits of which `--noise` have a wrong label; it is judged on
digits with right ones. Each time from the same weights and with the same batches:

    SGD                  with momentum: what the others stand around
    exponential average  evaluates with an average over the last steps (`ExponentialMovingAverage`)
    SWA                  with the mean of the weights of the second half (`StochasticWeightAveraging`), and statistics
                         of batch normalisation computed anew for it (`AveragedWeights(batch_norm_data=...)`)
    Lookahead            every 5 steps, half-way back to where it was
    schedule-free        no schedule, and an average as the result (`ScheduleFreeSGD`)
    SAM                  the gradient of the worst point nearby: two gradients a step
    ASAM                 the same, with a neighbourhood that scales with each weight
    LookSAM              the second gradient on every third step only

    python recipes/06_sam_and_averaging.py --epochs 10 --only SGD SWA SAM
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from console import chosen, command_line, parsed, say_where, show
from digits import digits

BATCH_SIZE = 50


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training digits (default 15)")
    parser.add_argument("--digits", type=int, default=1000, help="number of training digits (default 1,000)")
    parser.add_argument("--noise", type=float, default=0.2, help="share of wrong labels (default 0.2)")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="the highest (default 0.05)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the methods (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, labels and batches (default 0)")
    options = parsed(parser, argv, epochs=2, digits=BATCH_SIZE)
    if not 0 <= options.noise < 1:
        parser.error(f"--noise must be in [0, 1). Received: {options.noise}.")
    return options


def network() -> Any:
    """Returns a CNN with batch normalisation."""
    import keras
    from keras import layers

    parts: list[Any] = [keras.Input((28, 28, 1))]
    for number, filters in enumerate((16, 32), start=1):
        parts += [
            layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{number}"),
            layers.BatchNormalization(name=f"norm{number}"),
            layers.ReLU(name=f"relu{number}"),
        ]
    parts += [layers.Flatten(), layers.Dense(64, activation="relu", name="hidden"), layers.Dense(10, name="digit")]
    return keras.Sequential(parts, name="noisy_digits")


def noisy(data: tuple[Any, Any, Any, Any], options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """Returns some of the training digits, with wrong labels among them, and the validation digits as they are."""
    import numpy as np

    x, x_val, y, y_val = data
    rng = np.random.default_rng(options.seed)
    rows = rng.permutation(len(y))[: options.digits]
    x, y = x[rows], y[rows].copy()
    wrong = rng.permutation(len(y))[: round(options.noise * len(y))]
    y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return x, y, x_val, y_val


def methods(x: Any, steps: int, rate: float) -> dict[str, Callable[[Any], tuple[Any, Any, list[Any]]]]:
    """Returns what makes, of a network, the model to fit, its optimizer and its callbacks, by name.

    Args:
        x: The training digits.
        steps: Optimizer steps of the run.
        rate: The highest learning rate.
    """
    import kopt
    from kopt import callbacks, optimizers, schedules, transforms

    schedule = schedules.Warmup(schedules.CosineDecay(rate, steps), max(1, steps // 10))

    def sgd(rate: Any = schedule, **options: Any) -> Any:
        return optimizers.SGD(rate, momentum=0.9, weight_decay=0.01, **options)

    def evaluated() -> list[Any]:
        return [callbacks.AveragedWeights(batch_norm_data=x, batch_norm_batch_size=BATCH_SIZE)]

    def averaged(transform: Any, *, rate: Any = schedule) -> Callable[[Any], Any]:
        return lambda model: (model, sgd(rate, after=[transform]), evaluated())

    def sharp(rho: float, **options: Any) -> Callable[[Any], Any]:
        return lambda model: (kopt.SAM(model, rho, **options), sgd(), [])

    # The mean of many weights wants a rate that keeps them moving.
    flat = schedules.Warmup(schedules.Constant(rate / 2), max(1, steps // 10))
    swa = transforms.StochasticWeightAveraging(start=max(1, steps // 2))
    return {
        "SGD": lambda model: (model, sgd(), []),
        "exponential average": averaged(transforms.ExponentialMovingAverage(0.95)),
        "SWA": averaged(swa, rate=flat),
        "Lookahead": averaged(transforms.Lookahead(5)),
        "schedule-free": lambda model: (
            model,
            optimizers.ScheduleFreeSGD(4 * rate, warmup_steps=max(1, steps // 10), weight_decay=0.01),
            evaluated(),
        ),
        "SAM": sharp(0.1),
        "ASAM": sharp(1.0, adaptive=True),
        "LookSAM": sharp(0.1, every=3),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains with each method, prints the table, and returns its figures."""
    options = arguments(argv)
    x, y, x_val, y_val = noisy(digits(), options)
    steps = options.epochs * -(-len(x) // BATCH_SIZE)
    wanted = chosen(options.only, methods(x, steps, options.learning_rate))
    import keras

    import kopt

    run_dir = Path(options.log_dir) / f"averaging-{time.strftime('%Y%m%d-%H%M%S')}"
    results = {}
    for name, make in wanted.items():
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        keras.utils.set_random_seed(options.seed)
        model, optimizer, callbacks = make(network())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
        board = kopt.callbacks.TensorBoard(str(run_dir / name.replace(" ", "-")), gradients=20)
        begin = time.perf_counter()
        history = model.fit(
            x, y, BATCH_SIZE, options.epochs, verbose=0, callbacks=[*callbacks, board], validation_data=(x_val, y_val)
        ).history
        results[name] = {
            "accuracy": history["val_accuracy"][-1],
            "loss": history["val_loss"][-1],
            "best": max(history["val_accuracy"]),
            "seconds": time.perf_counter() - begin,
        }
    rows = [
        (name, f"{r['accuracy']:.3f}", f"{r['loss']:.4f}", f"{r['best']:.3f}", f"{r['seconds']:.0f}")
        for name, r in sorted(results.items(), key=lambda item: -item[1]["accuracy"])
    ]
    title = f"{len(x)} digits, {options.noise:.0%} with a wrong label, {steps} steps"
    show(title, ("method", "validation accuracy", "validation loss", "best accuracy", "seconds"), rows)
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir), "steps": steps}


if __name__ == "__main__":
    main()
