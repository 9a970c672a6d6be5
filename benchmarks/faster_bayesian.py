"""KerasTuner's Bayesian optimization with its own arithmetic done in fewer calls, so that twenty searches end today."""

from typing import Any

import keras_tuner
import numpy as np
from scipy.optimize import minimize

RESTARTS = 50  # As in KerasTuner.


class FasterBayesian(keras_tuner.oracles.BayesianOptimizationOracle):
    """Proposes what `BayesianOptimizationOracle` proposes, but for rounding.

    KerasTuner asks scikit-learn for one mean and one deviation at a time, and takes gradients from differences: two
    seconds of a processor for a suggestion. Here the same confidence bound has its gradient written out.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        done = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        if done < (self.num_initial_points or max(3 * len(self.hyperparameters.space), 3)):
            return self._random_populate_space()
        rows, results = self._vectorize_trials()
        self.gpr.fit(np.nan_to_num(rows, posinf=0, neginf=0), np.nan_to_num(results, posinf=0, neginf=0))
        bounds = self._get_hp_bounds()
        starts = self._random_state.uniform(bounds[:, 0], bounds[:, 1], size=(RESTARTS, len(bounds)))
        bound = LowerConfidenceBound(self.gpr, self.beta)
        found = [minimize(bound, start, jac=True, bounds=bounds, method="L-BFGS-B") for start in starts]
        best = min(found, key=lambda one: one.fun)
        return {"status": "RUNNING", "values": self._vector_to_values(best.x)}


class LowerConfidenceBound:
    """Mean minus beta standard deviations of a fitted Matern-5/2 process of scikit-learn, with its gradient."""

    def __init__(self, process: Any, beta: float) -> None:
        self.rows, self.weights, self.beta = process.X_train_, process.alpha_, beta
        self.length = process.kernel_.length_scale
        self.middle, self.unit = float(process._y_train_mean), float(process._y_train_std)
        lower = np.linalg.inv(process.L_)
        self.inverse = lower.T @ lower

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns value and gradient at one point."""
        apart = (x - self.rows) / self.length
        r = np.sqrt(5 * np.einsum("ij,ij->i", apart, apart))
        decay = np.exp(-r)
        kernel = (1 + r + r * r / 3) * decay
        slopes = (-5 / 3 * (1 + r) * decay)[:, None] * apart / self.length
        explained = self.inverse @ kernel
        deviation = np.sqrt(max(1 - kernel @ explained, 0.0))
        value = self.middle + self.unit * (kernel @ self.weights - self.beta * deviation)
        gradient = slopes.T @ self.weights
        if deviation > 0:
            gradient += self.beta * slopes.T @ explained / deviation
        return value, self.unit * gradient
