"""Grid search, random search and Bayesian optimisation side by side, with the same number of trials on one task.

A small network with momentum learns the 8 x 8 digits of scikit-learn in a few epochs; learning rate and weight decay
are searched. The rate matters much, the decay little: a grid of 25 trials tries five rates, the others 25.

    grid    each pair of a few values of both, in order
    random  each trial by chance, log-uniform
    bayes   kopt's conditional Gaussian process, `sampler="auto"`: each trial is where the ones before promise most
    tpe     the tree-structured Parzen estimator that Hyperopt made known, in the version of Optuna, its successor that
            is kept up; its first ten trials are random ones

A picture has the best loss after each trial and the settings that each method tried; TensorBoard has the curves as
`search/best_so_far`. One run is an anecdote: change `--seed`, and another one wins. Medians of many are in benchmarks/.

    python recipes/13_grid_random_bayes.py --trials 25 --only random bayes
"""

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from console import chosen, command_line, parsed, say_where, show

SAMPLERS = {"grid": "grid", "random": "random", "bayes": "auto", "tpe": "tpe"}
RATES, DECAYS = (1e-4, 3.0), (1e-5, 1e-1)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--trials", type=int, default=25, help="of each method; a square for the grid (default 25)")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training digits (default 3)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the methods (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of settings and trainings (default 0)")
    return parsed(parser, argv, trials=4, epochs=1, seed=0)


def data() -> tuple[Any, Any, Any, Any]:
    """Returns 1,347 training and 450 validation digits, (n, 64) in [0, 1], equally many of each class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    return tuple(train_test_split((x / 16.0).astype("float32"), y, test_size=450, stratify=y, random_state=0))


def spaced(ends: tuple[float, float], count: int) -> list[float]:
    """Returns `count` values between the ends, both included, each the same multiple of the one before."""
    low, high = ends
    return [low * (high / low) ** (number / (count - 1)) for number in range(count)]


def builder(side: int | None) -> Callable[[Any], Any]:
    """Returns the function that builds a trial's model.

    Args:
        side: How many values of each hyperparameter the grid has; None for ranges.
    """

    def build(hp: Any) -> Any:
        import keras

        import kopt

        def number(name: str, ends: tuple[float, float]) -> Any:
            if side is None:
                return hp.Float(name, *ends, sampling="log")
            return hp.Choice(name, spaced(ends, side))

        optimizer = kopt.optimizers.SGD(number("rate", RATES), momentum=0.9, weight_decay=number("decay", DECAYS))
        model = keras.Sequential(
            [keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
        )
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def draw(found: dict[str, list[Any]], path: Path) -> None:
    """Draws the best loss after each trial of each method, and which settings each one tried."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    curves, points = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(found.items()):
        best = list(itertools.accumulate((row.get("val_loss", math.inf) for row in rows), min))
        colour = f"C{number}"
        curves.step(range(1, len(best) + 1), best, where="post", color=colour)
        rates, decays = ([row[f"hp/{key}"] for row in rows] for key in ("rate", "decay"))
        points.scatter(rates, decays, marker="sox^"[number], color=colour, label=name)
    curves.set(xlabel="trials", ylabel="best validation loss so far", yscale="log")
    points.set(xlabel="learning rate", ylabel="weight decay", xscale="log", yscale="log")
    figure.legend(*points.get_legend_handles_labels(), loc="outside upper center", ncols=len(found))
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Searches by each method, prints the table, draws the picture, and returns the trials of each."""
    options = arguments(argv)
    methods = chosen(options.only, SAMPLERS)
    x, x_val, y, y_val = data()
    import kopt

    run_dir = Path(options.log_dir) / f"methods-{time.strftime('%Y%m%d-%H%M%S')}"
    found, table = {}, []
    for name, sampler in methods.items():
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        begin = time.process_time()
        tuner = kopt.tuning.Tuner(
            builder(math.isqrt(options.trials) if sampler == "grid" else None), objective="val_loss", keep_models=0,
            max_trials=options.trials, sampler=sampler, seed=options.seed, directory=run_dir / "searches",
            project_name=name, tensorboard=run_dir / name,
        )  # fmt: skip
        tuner.search(x, y, validation_data=(x_val, y_val), epochs=options.epochs, batch_size=64, verbose=0)
        found[name] = tuner.rows()
        best = min((row for row in found[name] if row["status"] == "completed"), key=lambda row: row["val_loss"])
        figures = (f"{best['val_loss']:.4f}", f"{best['val_accuracy']:.3f}", f"{best['hp/rate']:.2g}")
        further = (f"{best['hp/decay']:.1g}", str(int(best["trial"]) + 1), str(len(found[name])))
        table.append((name, *figures, *further, f"{time.process_time() - begin:.0f}"))
    columns = ("method", "best loss", "accuracy", "rate", "decay", "found in trial", "trials", "CPU seconds")
    show(f"{options.trials} trials of {options.epochs} epochs each", columns, table)
    draw(found, run_dir / "methods.png")
    sys.stdout.write(f"Picture: {run_dir / 'methods.png'}\n")
    say_where(run_dir, run_dir)
    return {"found": found, "run_dir": str(run_dir)}


if __name__ == "__main__":
    main()
