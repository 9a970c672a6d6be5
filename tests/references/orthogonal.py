"""Muon, Scion and Kron in float64, from singular values and from whole Kronecker products: no iteration on matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from references.first import AdamW

CHOSEN = (0, 1, 2)


def polynomial_of_singular_values(
    m: np.ndarray, steps: int, coefficients: Sequence[float], epsilon: float
) -> np.ndarray:
    """Applies an odd polynomial `steps` times to the singular values of m / (|m| + epsilon)."""
    a, b, c = coefficients
    u, s, vt = np.linalg.svd(m, full_matrices=False)
    s = s / (np.sqrt(np.sum(s**2)) + epsilon)
    for _ in range(steps):
        s = np.polyval([c, 0, b, 0, a, 0], s)
    return (u * s) @ vt


def size_of_step(name: str, m: np.ndarray) -> float:
    inputs, outputs = m.shape
    if name == "rms":
        return 0.2 * np.sqrt(np.max(m.shape))
    ratio = np.sqrt(outputs / inputs)
    return max(ratio, 1) if name == "spectral" else ratio


@dataclass
class Muon:
    """Jordan et al. 2024; sizes of Bernstein and Newhouse 2024 and Liu et al. 2025; `chosen` are the hidden kernels."""

    learning_rate: float
    momentum: float = 0.95
    ns_steps: int = 5
    ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315)
    epsilon: float = 1e-7
    size: str = "rms"
    matrices: str | None = None
    adam_learning_rate_ratio: float = 1.0
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_epsilon: float = 1e-8
    nesterov: bool = True
    weight_decay: float = 0.0
    chosen: Sequence[int] = CHOSEN
    history: list = field(default_factory=list)
    adams: dict = field(default_factory=dict)
    joint = True

    def step(self, xs: list[np.ndarray], gradients: list[np.ndarray]) -> list[np.ndarray]:
        self.history.append(gradients)
        decayed = [x - self.learning_rate * self.weight_decay * x for x in xs]
        moves = [self._hidden(i) if i in self.chosen else self._adam(i) for i in range(len(xs))]
        return [x + move for x, move in zip(decayed, moves, strict=True)]

    def _hidden(self, i: int) -> np.ndarray:
        b, past = self.momentum, [np.reshape(step[i], (-1, step[i].shape[-1])) for step in reversed(self.history)]
        average = (1 - b) * sum(b**age * g for age, g in enumerate(past))
        direction = b * average + (1 - b) * past[0] if self.nesterov else average
        o = polynomial_of_singular_values(direction, self.ns_steps, self.ns_coefficients, self.epsilon)
        return -self.learning_rate * size_of_step(self.size, o) * o.reshape(self.history[0][i].shape)

    def _adam(self, i: int) -> np.ndarray:
        rate = self.learning_rate * self.adam_learning_rate_ratio
        rule = AdamW(rate, self.adam_beta_1, self.adam_beta_2, self.adam_epsilon, weight_decay=0.0)
        g = self.history[-1][i]
        return self.adams.setdefault(i, rule).step(np.zeros_like(g), g)


@dataclass
class Scion:
    """Pethick et al. 2025, algorithm 2 for a decay of 1, algorithm 1 for 0; signs wherever it is not spectral."""

    learning_rate: float
    momentum: float = 0.9
    radius: float = 50.0
    head_radius: float = 3000.0
    weight_decay: float = 1.0
    ns_steps: int = 5
    ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315)
    epsilon: float = 1e-7
    matrices: str | None = None
    chosen: Sequence[int] = CHOSEN
    embeddings: Sequence[int] = ()
    averages: list | None = None
    joint = True

    def step(self, xs: list[np.ndarray], gradients: list[np.ndarray]) -> list[np.ndarray]:
        alpha = 1 - self.momentum
        old = self.averages or [np.zeros_like(g) for g in gradients]
        self.averages = [(1 - alpha) * d + alpha * g for d, g in zip(old, gradients, strict=True)]
        points = [self._lowest_point(i, d) for i, d in enumerate(self.averages)]
        keep = 1 - self.learning_rate * self.weight_decay
        return [keep * x + self.learning_rate * s for x, s in zip(xs, points, strict=True)]

    def _lowest_point(self, i: int, d: np.ndarray) -> np.ndarray:
        if d.ndim < 2 or i in self.embeddings:
            return -self.radius * np.sign(d)
        matrix = d.reshape(-1, d.shape[-1])
        if i not in self.chosen:
            return -self.head_radius / len(matrix) * np.sign(d)
        o = polynomial_of_singular_values(matrix, self.ns_steps, self.ns_coefficients, self.epsilon)
        return -self.radius * size_of_step("operator", o) * o.reshape(d.shape)
