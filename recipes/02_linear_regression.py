"""Fits y = 3x + noise by six kinds of gradient descent and compares them.

Full-batch, mini-batch and single-sample descent are one optimizer with three batch sizes; momentum, RMSprop and Adam
change the step. Each is a TensorBoard run of its own. Run it with `python recipes/02_linear_regression.py --help`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from console import command_line, parsed, say_where, show


class Method(NamedTuple):
    """One way to descend: an optimizer, a batch size (None: all points) and a number of passes over the data."""

    name: str
    optimizer: Any
    batch_size: int | None
    epochs: int


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--points", type=int, default=1000, help="number of points (default 1,000)")
    parser.add_argument("--noise", type=float, default=0.5, help="standard deviation of the noise (default 0.5)")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the number of epochs (default 1)")
    return parsed(parser, argv, points=2)


def methods() -> list[Method]:
    """Returns the six methods, each with a rate and a number of passes that suit it."""
    from kopt.optimizers import SGD, Adam, RMSprop

    return [
        Method("full-batch", SGD(0.3), None, 60),
        Method("mini-batch", SGD(0.1), 32, 6),
        Method("single-sample", SGD(0.01), 1, 2),
        Method("momentum", SGD(0.05, momentum=0.9), 32, 6),
        Method("rmsprop", RMSprop(0.1), 32, 6),
        Method("adam", Adam(0.1), 32, 6),
    ]


def fit(method: Method, x: Any, y: Any, run_dir: Path, effort: float) -> dict[str, float]:
    """Trains one line by one method; returns its figures."""
    import keras
    import numpy as np

    import kopt

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="line")], name="regression")
    model.compile(optimizer=method.optimizer, loss="mse")
    board = kopt.callbacks.TensorBoard(str(run_dir / method.name), update_freq="batch", gradients=10)
    epochs = max(1, round(method.epochs * effort))
    batch_size = method.batch_size or len(x)
    model.fit(x, y, batch_size, epochs, verbose=0, callbacks=[board])
    slope, intercept = (float(np.ravel(weight)[0]) for weight in model.get_weights())
    residual = y - (slope * x + intercept)
    return {
        "steps": epochs * -(-len(x) // batch_size),
        "slope": slope,
        "intercept": intercept,
        "mse": float(np.mean(residual**2)),
        "r2": float(1 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2)),
    }


def report(results: dict[str, dict[str, float]]) -> None:
    """Prints one row per method."""
    columns = ("method", "steps", "slope", "intercept", "mean squared error", "R^2")
    rows = [
        (name, f"{r['steps']:.0f}", f"{r['slope']:.3f}", f"{r['intercept']:.3f}", f"{r['mse']:.4f}", f"{r['r2']:.4f}")
        for name, r in results.items()
    ]
    show("y = 3x + noise", columns, rows)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs all methods, reports, and returns the figures."""
    options = arguments(argv)
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (options.points, 1)).astype(np.float32)
    y = (3 * x + rng.normal(0, options.noise, x.shape)).astype(np.float32)
    run_dir = Path(options.log_dir) / f"linear-regression-{time.strftime('%Y%m%d-%H%M%S')}"
    results = {}
    for method in methods():
        sys.stdout.write(f"{method.name} ...\n")
        results[method.name] = fit(method, x, y, run_dir, options.effort)
    report(results)
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir)}


if __name__ == "__main__":
    main()
