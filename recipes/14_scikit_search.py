"""Grid search and random search by scikit-learn itself, over a Keras network that it takes for one of its estimators.

`kopt.tuning.scikit_search` puts a build function into `keras.wrappers.SKLearnClassifier`, and that into `GridSearchCV`
or `RandomizedSearchCV`: for code that lives in scikit-learn, with its folds, its scores and its `cv_results_`. Here a
small network learns the 8 x 8 digits; its width and learning rate are searched, by as many settings of either kind.

    grid    two widths, each with a few learning rates
    random  widths from 16 to 64 and learning rates by chance, log-uniform

The best setting of each is trained once more on all training digits, shown in TensorBoard, and judged on digits that no
search has seen. `kopt.tuning.Tuner` has what scikit-learn's searches lack: pruning, conditions, going on after a kill.

    python recipes/14_scikit_search.py --rates 5 --folds 3
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, parsed, say_where, show

RATES, WIDTHS = (1e-3, 1.0), (16, 64)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--rates", type=int, default=3, help="learning rates on the grid, for each width (default 3)")
    parser.add_argument("--folds", type=int, default=3, help="of the cross-validation (default 3)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training digits (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of settings and trainings (default 0)")
    return parsed(parser, argv, rates=2, folds=2, epochs=1, seed=0)


def data() -> tuple[Any, Any, Any, Any]:
    """Returns 1,347 training and 450 test digits, (n, 64) in [0, 1], equally many of each class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    return tuple(train_test_split((x / 16.0).astype("float32"), y, test_size=450, stratify=y, random_state=0))


def build(X: Any, y: Any, width: int, rate: float) -> Any:  # noqa: N803 - scikit-learn's name
    """Returns a compiled network.

    Args:
        X: The digits of the training, from which it takes the number of inputs.
        y: Their classes, one-hot.
        width: Of the hidden layer.
        rate: The peak of the learning rate, between warm-up and decay, which are shares of the training.
    """
    import keras

    import kopt

    schedule = kopt.schedules.Warmup(kopt.schedules.CosineDecay(rate, 1.0, by="fraction"), 0.1, by="fraction")
    model = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            keras.layers.Dense(int(width), "relu", name="hidden"),
            keras.layers.Dense(y.shape[1], "softmax", name="digit"),
        ]
    )
    model.compile(kopt.optimizers.SGD(schedule, momentum=0.9), "categorical_crossentropy", metrics=["accuracy"])
    return model


def searches(options: argparse.Namespace) -> dict[str, Any]:
    """Returns both searches by name, ready for `fit(x, y)`."""
    import scipy.stats
    from sklearn.model_selection import StratifiedKFold

    import kopt

    low, high = RATES
    rates = [low * (high / low) ** (number / (options.rates - 1)) for number in range(options.rates)]
    common = {
        "fit": {"epochs": options.epochs, "batch_size": 32, "callbacks": [kopt.callbacks.Report()]},
        "cv": StratifiedKFold(options.folds, shuffle=True, random_state=options.seed),
        "refit": False,
    }
    chances = {"width": scipy.stats.randint(WIDTHS[0], WIDTHS[1] + 1), "rate": scipy.stats.loguniform(low, high)}
    count = len(WIDTHS) * len(rates)
    return {
        "grid": kopt.tuning.scikit_search(build, {"width": list(WIDTHS), "rate": rates}, **common),
        "random": kopt.tuning.scikit_search(build, chances, n_iter=count, seed=options.seed, **common),
    }


def trained(search: Any, x: Any, y: Any, log_dir: Path) -> Any:
    """Returns the best setting's network, trained once more on all of the training digits.

    Args:
        search: One that has been fitted.
        x: The training digits.
        y: Their classes.
        log_dir: Where TensorBoard finds the training.
    """
    from sklearn.base import clone

    import kopt

    network = clone(search.estimator).set_params(**search.best_params_)
    settings = {name: value.item() if hasattr(value, "item") else value for name, value in search.best_params_.items()}
    return network.fit(x, y, callbacks=[kopt.callbacks.TensorBoard(str(log_dir), gradients=20, hparams=settings)])


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs both searches, prints the table, trains the best settings again, and returns what each search has found."""
    options = arguments(argv)
    x, x_test, y, y_test = data()
    import keras

    run_dir = Path(options.log_dir) / f"scikit-{time.strftime('%Y%m%d-%H%M%S')}"
    found, table = searches(options), []
    for name, search in found.items():
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        keras.utils.set_random_seed(options.seed)
        begin = time.process_time()
        search.fit(x, y)
        seconds = time.process_time() - begin
        best, results = search.best_index_, search.cv_results_
        score = f"{results['mean_test_score'][best]:.3f} ± {results['std_test_score'][best]:.3f}"
        held_out = trained(search, x, y, run_dir / name).score(x_test, y_test)
        settings = (str(search.best_params_["width"]), f"{search.best_params_['rate']:.2g}")
        count = len(results["params"])
        table.append((name, score, f"{held_out:.3f}", *settings, f"{count} x {options.folds}", f"{seconds:.0f}"))
    columns = ("search", "accuracy", "on new digits", "width", "rate", "trainings", "CPU s")
    show(f"the best of each search: its folds' accuracy, {options.epochs} epochs each", columns, table)
    say_where(run_dir, run_dir)
    return {"found": found, "run_dir": str(run_dir)}


if __name__ == "__main__":
    main()
