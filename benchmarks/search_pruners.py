"""What does a pruner cost and spare? Real learning curves of a small network, replayed to each pruner many times."""

import argparse
from collections.abc import Callable

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

CONFIGS, HIDDEN, BATCH = 300, 32, 64
Curve = list[float]


def _halving(least: int, factor: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)


PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    '"asha": from 1, factor 4': lambda: _halving(1, 4),
    "from 1, factor 2": lambda: _halving(1, 2),
    "from 2, factor 4": lambda: _halving(2, 4),
    "from 2, factor 2": lambda: _halving(2, 2),
    "from 4, factor 2": lambda: _halving(4, 2),
    '"hyperband"': optuna.pruners.HyperbandPruner,
    '"median"': optuna.pruners.MedianPruner,
}


def trained(data: list[np.ndarray], epochs: int, rng: np.random.Generator) -> Curve:
    """Returns the validation loss after each epoch of one training with settings that are drawn."""
    x, x_val, y, y_val = data
    rate, decay = 10 ** rng.uniform(-4, 0.5), 10 ** rng.uniform(-6, -2)
    momentum, cosine = rng.choice([0.0, 0.9]), bool(rng.integers(2))
    sizes = [(x.shape[1], HIDDEN), (HIDDEN, 10)]
    weights = [rng.normal(0, np.sqrt(2 / a), (a, b)) for a, b in sizes]
    weights += [np.zeros(b) for _, b in sizes]
    speeds = [np.zeros_like(w) for w in weights]
    steps, step, curve = epochs * (len(x) // BATCH), 0, []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for rows in np.array_split(order, len(x) // BATCH):
            hidden = np.maximum(x[rows] @ weights[0] + weights[2], 0)
            error = _softmax(hidden @ weights[1] + weights[3])
            error[np.arange(len(rows)), y[rows]] -= 1
            error /= len(rows)
            back = (error @ weights[1].T) * (hidden > 0)
            gradients = [x[rows].T @ back, hidden.T @ error, back.sum(0), error.sum(0)]
            now = rate * (0.5 + 0.5 * np.cos(np.pi * step / steps) if cosine else 1.0)
            for w, v, g in zip(weights, speeds, gradients, strict=True):
                v *= momentum
                v -= now * g
                w *= 1 - now * decay
                w += v
            step += 1
        likely = _softmax(np.maximum(x_val @ weights[0] + weights[2], 0) @ weights[1] + weights[3])
        curve.append(float(-np.log(np.maximum(likely[np.arange(len(y_val)), y_val], 1e-12)).mean()))
    return curve


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.clip(logits - logits.max(1, keepdims=True), -700, 0))
    return powers / powers.sum(1, keepdims=True)


def replayed(curves: list[Curve], pruner: optuna.pruners.BasePruner) -> tuple[float, int, int]:
    """Returns the best loss of a trial that was completed, how many were, and the epochs of all."""
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(0))
    best, completed, epochs = np.inf, 0, 0
    for curve in curves:
        trial = study.ask()
        for epoch, loss in enumerate(curve, 1):
            epochs += 1
            trial.report(loss, epoch)
            if epoch < len(curve) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, min(curve))
            best, completed = min(best, min(curve)), completed + 1
    return best, completed, epochs


def main() -> None:
    """Prints a table for each length of the trainings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 30])
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--searches", type=int, default=40)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    digits, classes = load_digits(return_X_y=True)
    data = train_test_split(digits / 16.0, classes, test_size=450, stratify=classes, random_state=0)
    print("| epochs | trials | pruner | best loss / best of all | 90 % of searches | completed | share of the epochs |")
    print("|---|---|---|---|---|---|---|")
    for epochs in options.epochs:
        curves = [trained(data, epochs, np.random.default_rng(seed)) for seed in range(CONFIGS)]
        for trials in options.trials:
            drawn = [
                np.random.default_rng(seed).choice(CONFIGS, trials, replace=False) for seed in range(options.searches)
            ]
            for name, make in PRUNERS.items():
                found = []
                for search in drawn:
                    own = [curves[i] for i in search]
                    best, completed, spent = replayed(own, make())
                    found.append((best / min(map(min, own)), completed, spent / (epochs * trials)))
                ratio, completed, share = np.median(found, axis=0)
                worst = np.quantile([row[0] for row in found], 0.9)
                print(f"| {epochs} | {trials} | {name} | {ratio:.2f} | {worst:.2f} | {completed:.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
