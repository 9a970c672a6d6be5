"""SOAP and Shampoo in float64 NumPy, from the papers' formulas."""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from references.first import Rate, fading_sum, moving_average, rate_at


def as_matrix(x: np.ndarray) -> np.ndarray:
    """Returns a kernel as its layer multiplies by it, and anything with one row or column only as a column."""
    matrix = x.reshape(-1, x.shape[-1]) if x.ndim >= 2 else x.reshape(-1, 1)
    return matrix if min(matrix.shape) > 1 else matrix.reshape(-1, 1)


def gram(g: np.ndarray, axis: int) -> np.ndarray:
    """Contracts g with itself over the axis that is not `axis`."""
    other = 1 - axis
    return np.tensordot(g, g, axes=(other, other))


def completed(orthonormal: np.ndarray) -> np.ndarray:
    """Adds columns until they are a basis: sine waves, less their part in the span of those that are there."""
    n, k = orthonormal.shape
    waves = np.array([[math.sin(math.pi * i * j / (n + 1)) for j in range(1, n - k + 1)] for i in range(1, n + 1)])
    rest = waves.reshape(n, n - k)
    rest = rest - orthonormal @ (orthonormal.T @ rest)
    return np.hstack([orthonormal, np.linalg.qr(rest)[0]])


@dataclass
class SOAP:
    """Vyas et al. 2024, algorithm 3 with algorithm 4 for the eigenvectors, on a matrix; Adam on a vector.

    A side's basis is None if it is too long or the variable is a vector.
    """

    learning_rate: Rate
    beta_1: float = 0.95
    beta_2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    precondition_frequency: int = 10
    max_precondition_dimension: int = 4096
    gradients: list = field(default_factory=list)
    bases: list = field(default_factory=lambda: [None, None])
    v: np.ndarray | float = 0.0

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        g = as_matrix(g)
        self.gradients.append(g)
        done = len(self.gradients) - 1
        direction = np.zeros_like(g)
        if done:
            direction = self.direction(g, done)
            if done % self.precondition_frequency == 0:
                self.turn()
        elif g.shape[1] > 1:
            left, _, right = np.linalg.svd(g, full_matrices=False)
            self.bases = [completed(q) if len(q) <= self.max_precondition_dimension else None for q in (left, right.T)]
        return x - rate * direction.reshape(x.shape) - rate * self.weight_decay * x

    def direction(self, g: np.ndarray, done: int) -> np.ndarray:
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * self.seen(g) ** 2
        mean = moving_average(self.gradients[1:], self.beta_1) / (1 - self.beta_1**done)
        scaled = self.seen(mean) / (np.sqrt(self.v) + self.epsilon) * math.sqrt(1 - self.beta_2**done)
        return self.seen(scaled, back=True)

    def seen(self, g: np.ndarray, back: bool = False) -> np.ndarray:
        left, right = (np.eye(n) if q is None else q for q, n in zip(self.bases, g.shape, strict=True))
        return left @ g @ right.T if back else left.T @ g @ right

    def turn(self) -> None:
        for axis, q in enumerate(self.bases):
            if q is not None:
                statistics = moving_average([gram(g, axis) for g in self.gradients], self.beta_2)
                order = np.argsort(-np.diag(q.T @ statistics @ q))
                self.v = np.take(self.v, order, axis=axis)
                self.bases[axis] = np.linalg.qr(statistics @ q[:, order])[0]


def inverse_root(matrix: np.ndarray, exponent: float, ridge: float) -> np.ndarray:
    """Returns (M + ridge * its norm * I)^-exponent by singular values, which are eigenvalues here."""
    vectors, values, _ = np.linalg.svd(matrix)
    return (vectors * (values + ridge * np.linalg.norm(matrix, 2)) ** -exponent) @ vectors.T


@dataclass
class Shampoo:
    """Gupta et al. 2018, algorithm 1, in the blocks of Anil et al. 2020, with the averages of Shi et al. 2023."""

    learning_rate: Rate
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    momentum: float = 0.0
    block_size: int = 128
    precondition_frequency: int = 10
    start_preconditioning_step: int = 10
    grafting: str | None = "adam"
    grafting_epsilon: float = 1e-8
    accumulate: bool = False
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    roots: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(as_matrix(g))
        t, shape = len(self.gradients), self.gradients[0].shape
        late = t - self.start_preconditioning_step
        if late >= 0 and late % self.precondition_frequency == 0:
            self.roots = [(place, self.roots_of(place)) for place in itertools.product(*map(self.pieces, shape))]
        mean = moving_average(self.gradients, self.beta_1) / (1 - self.beta_1**t)
        self.steps.append(self.preconditioned(mean) if self.roots else self.grafted(mean))
        return x - rate * (fading_sum(self.steps, self.momentum).reshape(x.shape) + self.weight_decay * x)

    def pieces(self, length: int) -> list[slice]:
        count = -(-length // self.block_size)
        size = -(-length // count)
        return [slice(start, min(start + size, length)) for start in range(0, length, size)]

    def roots_of(self, place: tuple[slice, slice]) -> list[np.ndarray]:
        blocks, t = [g[place] for g in self.gradients], len(self.gradients)
        sides = [0] if self.gradients[0].shape[1] == 1 else [0, 1]
        found = []
        for axis in sides:
            squares = [gram(block, axis) for block in blocks]
            total = sum(squares) if self.accumulate else moving_average(squares, self.beta_2) / (1 - self.beta_2**t)
            found.append(inverse_root(total, 1 / (2 * len(sides)), self.epsilon))
        return found

    def preconditioned(self, mean: np.ndarray) -> np.ndarray:
        result = np.zeros_like(mean)
        for place, (left, *right) in self.roots:
            result[place] = left @ mean[place] @ (right[0] if right else np.eye(1))
        if self.grafting is None:
            return result
        return result * np.linalg.norm(self.grafted(mean)) / np.linalg.norm(result)

    def grafted(self, mean: np.ndarray) -> np.ndarray:
        if self.grafting not in ("adam", "rmsprop"):
            return mean
        v = moving_average([g**2 for g in self.gradients], self.beta_2)
        if self.grafting == "adam":
            v = v / (1 - self.beta_2 ** len(self.gradients))
        return mean / (np.sqrt(v) + self.grafting_epsilon)
