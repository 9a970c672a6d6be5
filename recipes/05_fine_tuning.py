"""Fine-tuning: a network that knows the digits 0 to 4 learns 5 to 9 from a few examples.

A CNN with batch normalisation is pre-trained on 0 to 4 and gets a new head. Then it learns 5 to 9 from `--shots` digits
of each class, from the same weights and with the same batches each time:

    from scratch     as if nothing were known
    head only        the backbone stands still
    one rate         everything is trained with the same rate
    layer-wise       each block has half the rate of the one behind it (`layerwise_decay`)
    all of it        layer-wise rates, gradual unfreezing (`Unfreeze`), and an average of the weights that validation
                     and the saved model use (`ExponentialMovingAverage`, `AveragedWeights`)

With so few digits a percent is luck: change `--seed` and the order changes.

    python recipes/05_fine_tuning.py --shots 10 --epochs 20
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, parsed, say_where, show
from digits import digits

BATCH_SIZE = 25
WAYS = ("from scratch", "head only", "one rate", "layer-wise", "all of it")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--pretraining", type=int, default=10, help="epochs on the digits 0 to 4 (default 10)")
    parser.add_argument("--epochs", type=int, default=50, help="epochs on the digits 5 to 9 (default 50)")
    parser.add_argument("--shots", type=int, default=10, help="training digits of each of these classes (default 10)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the highest (default 0.003)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, digits and batches (default 0)")
    return parsed(parser, argv, pretraining=1, epochs=2, shots=1)


def network() -> Any:
    """Returns a CNN of about 26,000 weights, in three blocks and a head for five classes."""
    import keras
    from keras import layers

    parts: list[Any] = [keras.Input((28, 28, 1))]
    for number, filters in enumerate((16, 32, 64), start=1):
        parts += [
            layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"block{number}_conv"),
            layers.BatchNormalization(name=f"block{number}_norm"),
            layers.ReLU(name=f"block{number}_relu"),
        ]
    return keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(5, name="head")], name="classifier")


def halves(data: tuple[Any, Any, Any, Any], options: argparse.Namespace) -> tuple[Any, Any]:
    """Returns training and validation data of the digits 0 to 4, and of a few 5 to 9 and all the others of these."""
    import numpy as np

    x, x_val, y, y_val = data
    low, low_val = y < 5, y_val < 5
    order = np.random.default_rng(options.seed).permutation(len(y))
    few = np.concatenate([order[y[order] == digit][: options.shots] for digit in range(5, 10)])
    first = (x[low], y[low], x_val[low_val], y_val[low_val])
    return first, (x[few], y[few] - 5, x_val[~low_val], y_val[~low_val] - 5)


def fit(model: Any, optimizer: Any, data: Any, directory: Path, epochs: int, callbacks: Sequence[Any] = ()) -> Any:
    """Trains, and returns Keras' history."""
    import keras

    import kopt

    x, y, x_val, y_val = data
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    board = kopt.callbacks.TensorBoard(str(directory), gradients=20)
    watching = [*callbacks, board]
    return model.fit(x, y, BATCH_SIZE, epochs, verbose=0, callbacks=watching, validation_data=(x_val, y_val)).history


def way_of(name: str, model: Any, x: Any, steps: int, rate: float) -> tuple[Any, list[Any]]:
    """Returns the optimizer and the callbacks of one of the ways to learn the new digits.

    Args:
        name: One of `WAYS`.
        model: The network.
        x: The training digits.
        steps: Optimizer steps of the run.
        rate: The highest learning rate.
    """
    from kopt import callbacks, optimizers, schedules, transforms

    schedule = schedules.Warmup(schedules.CosineDecay(rate, steps), max(1, steps // 10))
    common = {"weight_decay": 0.01, "global_clipnorm": 1.0}
    if name in ("from scratch", "one rate"):
        return optimizers.AdamW(schedule, groups=optimizers.no_decay_groups(model), **common), []
    if name == "head only":
        return optimizers.AdamW(schedule, groups=[optimizers.Group("block", frozen=True)], **common), []
    groups = optimizers.layerwise_decay(model, 0.5, blocks=r"block(\d)")
    if name == "layer-wise":
        return optimizers.AdamW(schedule, groups=groups, **common), []
    opening = {"block3": steps // 10, "block2": 2 * steps // 10, "block1": 3 * steps // 10}
    after = [transforms.Unfreeze(opening), transforms.ExponentialMovingAverage(0.95)]
    return optimizers.AdamW(schedule, groups=groups, after=after, **common), [callbacks.AveragedWeights(x)]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Pre-trains, fine-tunes in each way, prints the table, and returns its figures."""
    options = arguments(argv)
    import keras

    import kopt

    keras.utils.set_random_seed(options.seed)
    first, second = halves(digits(), options)
    run_dir = Path(options.log_dir) / f"fine-tuning-{time.strftime('%Y%m%d-%H%M%S')}"
    model = network()
    fresh = model.get_weights()
    sys.stdout.write("pre-training on 0 to 4 ...\n")
    known = fit(model, kopt.optimizers.AdamW(3e-3), first, run_dir / "pre-training", options.pretraining)
    # A backbone that is known, and a head that is not.
    pretrained = [*model.get_weights()[:-2], *fresh[-2:]]
    steps = options.epochs * -(-len(second[0]) // BATCH_SIZE)
    results = {}
    for name in WAYS:
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        keras.utils.set_random_seed(options.seed)
        model = network()
        model.set_weights(fresh if name == "from scratch" else pretrained)
        optimizer, callbacks = way_of(name, model, second[0], steps, options.learning_rate)
        if name == "all of it":
            sys.stdout.write(f"{optimizer.describe(model)}\n")
        history = fit(model, optimizer, second, run_dir / name.replace(" ", "-"), options.epochs, callbacks)
        results[name] = {"accuracy": history["val_accuracy"][-1], "loss": history["val_loss"][-1]}
        model.save(run_dir / f"{name.replace(' ', '-')}.keras")
    rows = [(name, f"{r['accuracy']:.3f}", f"{r['loss']:.4f}") for name, r in results.items()]
    title = f"5 to 9 from {len(second[0])} digits (0 to 4 before: {known['val_accuracy'][-1]:.3f})"
    show(title, ("way", "validation accuracy", "validation loss"), rows)
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir), "steps": steps}


if __name__ == "__main__":
    main()
