"""An over-fitted network, cured step by step: what each kind of regularization does to the same weights.

A fully connected network learns 1,000 MNIST digits until it knows them by heart. Each step adds to those before it:

    as it is            Adam, and nothing against over-fitting
    + weight decay      AdamW under a cosine, with decay of the matrices only (`no_decay_groups`)
    + dropout           put into the network that is there, behind each hidden layer (`regularize`)
    + label smoothing   `kopt.losses.CategoricalCrossentropy(label_smoothing=0.1)`
    + mixup             pairs of digits and their labels, mixed in the data pipeline (`MixUpCutMix`)
    + averaged weights  evaluates with a moving average (`ExponentialMovingAverage`, `AveragedWeights`)
    recipe              none of these: `apply_recipe(model, "small-data-mlp")`, with early stopping

After each epoch the plain cross-entropy of the training digits and of 1,000 others is measured, without dropout, mixing
and smoothing: `curves.png` shows both side by side, and TensorBoard has them as `epoch_clean_cross_entropy`.

    python recipes/07_overfitting.py --epochs 20 --only "as it is" "+ dropout" recipe
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import chosen, command_line, parsed, say_where, show
from digits import digits

BATCH_SIZE = 50
STEPS = ("as it is", "+ weight decay", "+ dropout", "+ label smoothing", "+ mixup", "+ averaged weights", "recipe")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training digits (default 30)")
    parser.add_argument("--digits", type=int, default=1000, help="number of training digits (default 1,000)")
    parser.add_argument("--units", type=int, default=512, help="of each of the two hidden layers (default 512)")
    parser.add_argument("--dropout", type=float, default=0.5, help="rate of dropout (default 0.5)")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="some of the steps (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    return parsed(parser, argv, epochs=1, digits=BATCH_SIZE, units=1)


def network(units: int) -> Any:
    """Returns a fully connected network without any regularization, which gives logits."""
    import keras
    from keras import layers

    hidden = [layers.Dense(units, "relu", name=f"hidden{number}") for number in (1, 2)]
    return keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Flatten(name="pixels"), *hidden, layers.Dense(10, name="digit")],
        name="overfitted",
    )


def prepared(step: str, model: Any, options: argparse.Namespace) -> tuple[Any, Any, Any, list[Any], Any]:
    """Returns what a step trains with: the model, its optimizer, its loss, callbacks, and what mixes data or None."""
    import kopt
    from kopt import callbacks, layers, losses, optimizers, regularizers, schedules, transforms

    if step == "recipe":
        recipe = regularizers.RECIPES["small-data-mlp"]
        applied = regularizers.apply_recipe(model, recipe, epochs=options.epochs, batch_size=BATCH_SIZE)
        return *applied[:2], recipe.loss(sparse=False), applied.callbacks, None
    reached = STEPS.index(step)
    loss, mix, found = losses.CategoricalCrossentropy(from_logits=True), None, [callbacks.Report()]
    optimizer: Any = optimizers.Adam(1e-3)
    has_dropout = reached >= STEPS.index("+ dropout")
    # A new model in either case, with the weights of this one.
    model = regularizers.regularize(model, dropout=options.dropout) if has_dropout else regularizers.unregularize(model)
    if reached >= STEPS.index("+ label smoothing"):
        loss = losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True)
    if reached >= STEPS.index("+ mixup"):
        mix = layers.MixUpCutMix(mixup=0.2, switch=0.0, seed=options.seed)
    if reached >= STEPS.index("+ weight decay"):
        after = []
        if reached >= STEPS.index("+ averaged weights"):
            after, found = [transforms.ExponentialMovingAverage(0.99)], [callbacks.AveragedWeights()]
        cosine = schedules.CosineDecay(1e-3, 1.0, by="fraction")
        groups = kopt.optimizers.no_decay_groups(model)
        optimizer = optimizers.AdamW(cosine, weight_decay=0.5, groups=groups, after=after)
    return model, optimizer, loss, found, mix


def curves_of(data: tuple[Any, Any, Any, Any]) -> Any:
    """Returns a callback that measures a model after each epoch on the digits as they are."""
    import keras

    class Curves(keras.callbacks.Callback):
        """Notes the plain cross-entropy and the accuracy on training and validation digits."""

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[dict[str, float]] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            x, x_val, y, y_val = data
            row = {}
            for where, inputs, labels in (("training", x, y), ("validation", x_val, y_val)):
                found = self.model.evaluate(inputs, labels, batch_size=1000, verbose=0, return_dict=True)
                row[where], row[f"{where} accuracy"] = found["cross_entropy"], found["accuracy"]
            self.rows.append(row)
            # For TensorBoard, which comes behind.
            logs["clean_cross_entropy"], logs["val_clean_cross_entropy"] = row["training"], row["validation"]

    return Curves()


def train(step: str, base: Any, data: tuple[Any, Any, Any, Any], run_dir: Path, options: argparse.Namespace) -> Any:
    """Trains one step's network from the weights of `base`; returns the rows of its curves."""
    import keras
    import tensorflow as tf

    import kopt

    keras.utils.set_random_seed(options.seed)
    x, x_val, y, y_val = data
    model, optimizer, loss, callbacks, mix = prepared(step, base, options)
    metrics = [keras.metrics.CategoricalCrossentropy(name="cross_entropy", from_logits=True), "accuracy"]
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    curves = curves_of(data)
    board = kopt.callbacks.TensorBoard(str(run_dir / step.replace("+ ", "").replace(" ", "-")), gradients=50)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=options.seed).batch(BATCH_SIZE)
    if mix is not None:
        batches = batches.map(lambda *batch: mix(batch))
    model.fit(
        batches, epochs=options.epochs, verbose=0, callbacks=[*callbacks[:1], curves, board, *callbacks[1:]],
        validation_data=(x_val, y_val), validation_batch_size=1000, shuffle=False,  # The data set is.
    )  # fmt: skip
    return curves.rows


def draw(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draws the curves of all steps side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(results), 3.2), layout="constrained")
    axes = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axis, (step, rows) in zip(axes, results.items(), strict=True):
        epochs = range(1, len(rows) + 1)
        for where, color in (("training", "tab:blue"), ("validation", "tab:orange")):
            axis.plot(epochs, [row[where] for row in rows], color=color, label=where)
        axis.fill_between(epochs, *([row[where] for row in rows] for where in ("training", "validation")), alpha=0.12)
        last = rows[-1]
        axis.set_title(f"{step}\n{last['validation accuracy']:.1%} right, loss {last['validation']:.2f}", fontsize=9)
        axis.set(xlabel="epoch", yscale="log")
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("cross-entropy")
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains each step, draws the curves, prints the table, and returns its figures."""
    options = arguments(argv)
    steps = chosen(options.only, dict.fromkeys(STEPS))
    x, x_val, y, y_val = digits(options.seed)
    import keras
    import numpy as np

    keras.utils.set_random_seed(options.seed)
    classes = np.eye(10, dtype="float32")
    data = (x[: options.digits], x_val, classes[y[: options.digits]], classes[y_val])
    base = network(options.units)
    run_dir = Path(options.log_dir) / f"overfitting-{time.strftime('%Y%m%d-%H%M%S')}"
    results = {}
    for step in steps:
        sys.stdout.write(f"{step} ...\n")
        sys.stdout.flush()
        results[step] = train(step, base, data, run_dir, options)
    rows = []
    for step, curve in results.items():
        last, best = curve[-1], min(row["validation"] for row in curve)
        rows.append((step, f"{last['training']:.4f}", f"{last['validation']:.4f}", f"{best:.4f}",
                     f"{last['validation accuracy']:.3f}", str(len(curve))))  # fmt: skip
    columns = ("step", "training loss", "validation loss", "best of it", "validation accuracy", "epochs")
    show(f"{options.digits} digits, {options.units} units: cross-entropy at the end", columns, rows)
    draw(results, run_dir / "curves.png")
    sys.stdout.write(f"The curves: {run_dir / 'curves.png'}\n")
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir)}


if __name__ == "__main__":
    main()
