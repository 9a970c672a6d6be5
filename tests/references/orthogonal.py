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


@dataclass
class Kron:
    """Li 2018 and 2022 with K = L x R written out; the mean over probes is a sum over all unit matrices V."""

    learning_rate: float
    beta_1: float = 0.9
    precondition_frequency: int = 1
    precondition_learning_rate: float = 0.1
    max_size_triangular: int = 8192
    weight_decay: float = 0.0
    history: list = field(default_factory=list)
    factors: list | None = None

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.history.append(g.reshape(-1, g.shape[-1]) if g.ndim > 1 else g.reshape(-1, 1))
        weights = self.beta_1 ** np.arange(len(self.history))[::-1]
        mean = np.tensordot(weights, self.history, 1) / weights.sum()
        if self.factors is None:
            self.factors = [np.eye(n) for n in mean.shape]
        if (len(self.history) - 1) % self.precondition_frequency == 0:
            self._descend(mean, is_vector=g.ndim < 2)
        k = np.kron(*self.factors)
        u = (k.T @ k @ mean.ravel()).reshape(x.shape)
        u = u * min(1, 1.1 / np.sqrt(np.mean(u**2)))
        return x - self.learning_rate * (u + self.weight_decay * x)

    def _descend(self, mean: np.ndarray, *, is_vector: bool) -> None:
        k = np.kron(*self.factors)
        a = (k @ mean.ravel()).reshape(mean.shape)
        probes = np.linalg.inv(k).T.reshape(*mean.shape, -1)
        pairs = [
            (a @ a.T, np.einsum("imv,jmv->ij", probes, probes)),
            (a.T @ a, np.einsum("miv,mjv->ij", probes, probes)),
        ]
        for side, (gram, noise) in enumerate(pairs[: 1 if is_vector else 2]):
            if is_vector or not 1 < len(gram) <= self.max_size_triangular:
                gram, noise = np.diag(np.diag(gram)), np.diag(np.diag(noise))
            s = gram + noise
            image = s @ s[:, np.argmax(np.linalg.norm(s, axis=0))]
            bound = np.linalg.norm(s @ image) / np.linalg.norm(image)
            change = np.triu(gram - noise) @ self.factors[side] / bound
            self.factors[side] = self.factors[side] - self.precondition_learning_rate * change
