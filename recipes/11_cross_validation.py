"""Breast cancer from 30 measurements: settings that are chosen by cross-validation, with the spread between the folds.

A small network classifies 569 tumours. Each trial is trained on every fold; the table shows mean and standard
deviation, and of the best trial each fold. In the end one model is trained on all rows with the best settings.

The search is kept in `<log-dir>/cross-validation`: run it again with a greater `--trials`, and it goes on.

    python recipes/11_cross_validation.py --folds 5 --trials 8
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, parsed, say_where, show


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--folds", type=int, default=5, help="folds, stratified by class (default 5)")
    parser.add_argument("--trials", type=int, default=8, help="settings to try (default 8)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the rows of a fold (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of settings, folds and trainings (default 0)")
    return parsed(parser, argv, folds=2, trials=1, epochs=1, seed=0)


def build(hp: Any) -> Any:
    """Returns a compiled network; batch normalisation at its entry scales the inputs by the rows of the fold only."""
    import keras

    import kopt

    parts: list[Any] = [keras.Input((30,)), keras.layers.BatchNormalization(momentum=0.9)]
    parts += [keras.layers.Dense(hp.Int("units", 4, 64, sampling="log"), activation="relu")]
    parts += [keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential(parts)
    rate = hp.Float("rate", 1e-3, 3e-2, sampling="log")
    decay = hp.Choice("decay", [0.0, 0.01, 0.1])
    model.compile(kopt.optimizers.AdamW(rate, weight_decay=decay), "binary_crossentropy", metrics=["accuracy"])
    return model


def spread(row: Any, name: str) -> str:
    """Returns the mean over the folds and their standard deviation."""
    return f"{row[name]:.3f} ± {row[f'{name}_std']:.3f}"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Searches, prints the tables, and returns the best trial's row."""
    options = arguments(argv)
    from sklearn.datasets import load_breast_cancer

    import kopt

    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype("float32")
    place = Path(options.log_dir) / "cross-validation"
    tuner = kopt.tuning.Tuner(
        build, objective="val_loss", max_trials=options.trials, cv=options.folds, on_existing="resume",
        tensorboard=place / "tensorboard", directory=place, seed=options.seed,
    )  # fmt: skip
    tuner.search(x, y, epochs=options.epochs, batch_size=64)
    rows = sorted((row for row in tuner.rows() if row["status"] == "completed"), key=lambda row: row["val_loss"])
    names = ("units", "dropout", "rate", "decay")
    shown = [
        (row["trial"], spread(row, "val_loss"), spread(row, "val_accuracy"), *(f"{row[f'hp/{n}']:.3g}" for n in names))
        for row in rows
    ]
    show(f"{options.folds} folds of {len(y)} rows", ("trial", "loss", "accuracy", *names), shown)
    parts = [row for row in tuner.rows(folds=True) if row["trial"] == rows[0]["trial"]]
    shown = [
        (str(row["fold"]), f"{row['val_loss']:.4f}", f"{row['val_accuracy']:.4f}", str(row["best_epoch"] + 1))
        for row in parts
    ]
    show(f"the folds of trial {rows[0]['trial']}", ("fold", "loss", "accuracy", "best epoch"), shown)
    model = tuner.refit()
    model.save(place / "model.keras")
    sys.stdout.write(f"Trained on all rows: {place / 'model.keras'}\nReport: {tuner.report(place / 'report.html')}\n")
    say_where(place, place)
    return {"best": rows[0], "place": str(place)}


if __name__ == "__main__":
    main()
