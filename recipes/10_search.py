"""A search for everything around a small CNN: optimizer, schedule, decay, dropout, label smoothing and batch size.

Each trial learns from MNIST digits and is judged by the loss on others, without the smoothing. ASHA ends a trial after
1 or 4 epochs if it is not among the best quarter by then. The best model is saved, and judged on 1,000 digits that
the search has never seen.

The search is kept in `<log-dir>/search`. Kill it and run it again: it goes on, and only the trial that was running is
run anew. Run it with more `--trials`: it does those as well.

    python recipes/10_search.py --trials 20
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, parsed, say_where, show
from digits import digits

HELD_OUT = 1000


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--trials", type=int, default=20, help="settings to try (default 20)")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training digits (default 8)")
    parser.add_argument("--digits", type=int, default=3000, help="training digits, at most 3,000 (the default)")
    parser.add_argument("--seed", type=int, default=0, help="of settings and trainings (default 0)")
    options = parsed(parser, argv, trials=1, epochs=1, digits=128, seed=0)
    if options.digits > 3000:
        parser.error(f"--digits must be at most 3,000. Received: {options.digits}.")
    return options


def network() -> Any:
    """Returns a CNN with a dropout layer, whose rate the search replaces."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 5, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(32, 3, strides=2, activation="relu", name="conv2"),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dropout(0.2, name="dropout"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="searched",
    )


def space() -> Any:
    """Returns what is searched; each optimizer has its own rate, decay and momentum, each schedule its own warm-up."""
    from kopt import tuning

    return tuning.SearchSpace(
        optimizer=["adamw", "sgd", "lion"],
        schedule=["constant", "cosine_decay", "one_cycle"],
        dropout=tuning.Float(0.0, 0.5),
        label_smoothing=tuning.Choice([0.0, 0.05, 0.1]),
        batch_size=tuning.Choice([32, 64, 128]),
    )


def told(row: Any) -> tuple[str, ...]:
    """Returns what the table shows of a trial; the report has the rest."""
    figures = ("", "") if row["status"] == "failed" else (f"{row['val_plain_loss']:.4f}", f"{row['val_accuracy']:.3f}")
    kind = row["hp/optimizer"]
    settings = (kind, f"{row[f'hp/{kind}/learning_rate']:.1e}", row["hp/schedule"])
    ended = "" if row["status"] == "completed" else f", {row['status']}"
    return (row["trial"], f"{row['epochs']}{ended}", *figures, *settings)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Searches, prints the table, saves the best model, and returns the best trial's row and its test accuracy."""
    options = arguments(argv)
    x, x_test, y, y_test = digits()
    x_val, y_val, x, y = x[:HELD_OUT], y[:HELD_OUT], x[HELD_OUT:], y[HELD_OUT:]
    x, y = x[: options.digits], y[: options.digits]
    import kopt

    place = Path(options.log_dir) / "search"
    hypermodel = kopt.tuning.make_hypermodel(
        network(), space(), loss=kopt.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"]
    )
    sys.stdout.write(f"{hypermodel.space}\n")
    tuner = kopt.tuning.Tuner(
        hypermodel, objective="val_plain_loss", max_trials=options.trials, pruner="asha",
        on_existing="resume", tensorboard=place / "tensorboard", directory=place, seed=options.seed,
    )  # fmt: skip
    tuner.search(x, y, validation_data=(x_val, y_val), epochs=options.epochs)
    ranks = {"completed": 0, "pruned": 1, "failed": 2}
    rows = [row for row in tuner.rows() if row["status"] in ranks]
    rows.sort(key=lambda row: (ranks[row["status"]], row.get("val_plain_loss", 0.0)))
    columns = ("trial", "epochs", "loss", "accuracy", "optimizer", "rate", "schedule")
    show(f"{len(rows)} trials on {len(x)} digits", columns, [told(row) for row in rows])
    settings = tuner.best_hyperparameters(1)[0].values
    shown = [(name, f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in settings.items()]
    show(f"the settings of trial {rows[0]['trial']}", ("name", "value"), shown)
    model = tuner.best_model()
    accuracy = model.evaluate(x_test, y_test, 500, verbose=0, return_dict=True)["accuracy"]
    model.save(place / "model.keras")
    sys.stdout.write(f"The best model's accuracy on {len(x_test)} digits the search has not seen: {accuracy:.3f}\n")
    sys.stdout.write(f"Saved, to be loaded after `import kopt`: {place / 'model.keras'}\n")
    sys.stdout.write(f"Report: {tuner.report(place / 'report.html')}\n")
    say_where(place, place)
    return {"best": rows[0], "accuracy": accuracy, "place": str(place)}


if __name__ == "__main__":
    main()
