"""Fitting the process: results made comparable, the most probable hyperparameters, and what follows for new points."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from kopt.tuning.sampler.across import Across
from kopt.tuning.sampler.kernel import TreeKernel

Array = np.ndarray
JITTERS = (0.0, 1e-6, 1e-4, 1e-2)
NEVER = 1e25
LARGEST = 1e100  # Its square is finite, also in units of 1e-12.
SPREADS = 4.0  # How many standard deviations of the prior a hyperparameter may be away from its mean.


def squashed(values: Array) -> Array:
    """Returns `values`, finite and to be minimised, without outliers on the bad side: standardised, order kept.

    A diverged run says that a point is bad, and no more: what is above the median is drawn together by a logarithm.
    """
    values = np.clip(values, -LARGEST, LARGEST)
    median = np.median(values)
    unit = median - np.quantile(values, 0.15)
    if unit <= 1e-12 * max(1.0, abs(median)):
        unit = np.std(values) or 1.0
    z = (values - median) / unit
    z = np.where(z > 0, np.log1p(np.maximum(z, 0.0)), z)
    return (z - z.mean()) / (z.std() or 1.0)


class Likelihood:
    """The negative logarithm of likelihood times prior, as a function of the hyperparameters.

    These are the kernel's, then the logarithms of the variance of the signal and of the noise.

    Args:
        kernel: The kernel.
        rows: Shape (n, d).
        values: Shape (n,), standardised.
    """

    def __init__(self, kernel: TreeKernel, rows: Array, values: Array) -> None:
        self.kernel, self.values = kernel, values
        row, column = np.tril_indices(len(rows), -1)
        self.pairs = row * len(rows) + column
        self.distances = kernel.distances(rows[row], rows[column])
        self.mean, self.spread = prior_of(kernel)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Returns the value and its gradient; a value that no other exceeds if the matrix cannot be factored."""
        n = len(self.values)
        pairs, backward = self.kernel(theta[:-2], self.distances)
        signal, noise = np.exp(theta[-2:])
        matrix = np.zeros((n, n))
        np.put(matrix, self.pairs, signal * pairs)
        np.fill_diagonal(matrix, signal + noise)
        lower, failed = lapack.dpotrf(matrix, lower=1)
        if failed:
            return NEVER, np.zeros_like(theta)
        alpha = cho_solve((lower, True), self.values)
        inverse, _ = lapack.dpotri(lower, lower=1)
        value = 0.5 * self.values @ alpha + np.log(np.diag(lower)).sum()
        slope = np.take(inverse - np.outer(alpha, alpha), self.pairs)
        trace = np.sum(np.diag(inverse) - alpha**2)
        gradient = np.empty_like(theta)
        gradient[:-2] = backward(signal * slope)
        gradient[-2] = signal * (np.sum(slope * pairs) + 0.5 * trace)
        gradient[-1] = 0.5 * noise * trace
        off = (theta - self.mean) / self.spread
        return value + 0.5 * off @ off, gradient + off / self.spread


def prior_of(kernel: TreeKernel) -> tuple[Array, Array]:
    """Returns means and standard deviations of the normal prior of the hyperparameters, which are logarithms."""
    weights = np.where(kernel.categorical, 0.0, np.log(3.0))
    groups = np.ones(len(kernel.groups))
    mean = np.concatenate([weights, groups, [0.0, np.log(1e-4)]])
    spread = np.concatenate([np.full(kernel.size, 1.5), [1.0, 2.5]])
    return mean, spread


def most_probable(kernel: TreeKernel, rows: Array, values: Array, iterations: int) -> Array:
    """Returns the hyperparameters at a maximum of likelihood times prior, climbed to from the prior's mean."""
    likelihood = Likelihood(kernel, rows, values)
    mean, spread = likelihood.mean, likelihood.spread
    bounds = list(zip(mean - SPREADS * spread, mean + SPREADS * spread, strict=True))
    found = minimize(likelihood, mean, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    return found.x if np.all(np.isfinite(found.x)) else mean


@dataclass(frozen=True)
class Posterior:
    """What the process expects at new points.

    Attributes:
        kernel: The kernel.
        theta: Hyperparameters.
        rows: The points that it knows, shape (n, d).
        across: The kernel of any points with these.
        lower: Cholesky factor of their covariance, shape (n, n).
        alpha: Weights of their results, shape (n,).
    """

    kernel: TreeKernel
    theta: Array
    rows: Array
    across: Across
    lower: Array
    alpha: Array

    @classmethod
    def of(cls, kernel: TreeKernel, theta: Array, rows: Array, values: Array) -> "Posterior":
        """Returns the process given results; with jitter where the matrix is nearly singular.

        Raises:
            numpy.linalg.LinAlgError: No jitter helps.
        """
        signal, noise = np.exp(theta[-2:])
        across = Across(kernel, theta[:-2], rows)
        between = across(rows)
        for jitter in JITTERS:
            matrix = signal * between + (noise + signal * jitter) * np.eye(len(rows))
            try:
                lower = cholesky(matrix, lower=True)
            except (np.linalg.LinAlgError, ValueError):  # The latter is what SciPy raises for NaN.
                continue
            return cls(kernel, theta, rows, across, lower, cho_solve((lower, True), values))
        raise np.linalg.LinAlgError("The covariance of the trials is not positive definite.")

    def __call__(self, rows: Array) -> tuple[Array, Array]:
        """Returns means and standard deviations at `rows`."""
        signal = np.exp(self.theta[-2])
        across = signal * self.across(rows)
        explained = solve_triangular(self.lower, across.T, lower=True, check_finite=False)
        variance = np.maximum(signal - np.sum(explained**2, axis=0), 1e-12 * signal)
        return across @ self.alpha, np.sqrt(variance)

    def believing(self, rows: Array) -> "Posterior":
        """Returns the process that has seen its own mean at `rows` (kriging believer): it looks elsewhere then."""
        values = (np.tril(self.lower) @ np.tril(self.lower).T) @ self.alpha
        means, _ = self(rows)
        return Posterior.of(self.kernel, self.theta, np.concatenate([self.rows, rows]), np.concatenate([values, means]))
