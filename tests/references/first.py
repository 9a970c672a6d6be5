"""The papers' update rules in float64 NumPy, written from the formulas: what kopt's optimizers are compared with.

Each class trains one array: `step(x, g)` returns the next x. State starts at 0. `learning_rate` is a number, or a
function of the number of steps taken before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Rate = float | Callable[[int], float]


def rate_at(learning_rate: Rate, step: int) -> float:
    return float(learning_rate(step)) if callable(learning_rate) else learning_rate


def fading_sum(history: Sequence[np.ndarray], fade: float) -> np.ndarray:
    """Sums g_t + fade g_(t-1) + fade^2 g_(t-2) + ...: heavy-ball momentum without its recursion."""
    return sum(fade**age * g for age, g in enumerate(reversed(history)))


def moving_average(history: Sequence[np.ndarray], decay: float) -> np.ndarray:
    """Averages a history that began at 0, the newest with weight 1 - decay, each older one with `decay` times less."""
    return (1 - decay) * fading_sum(history, decay)


@dataclass
class SGD:
    """Robbins and Monro 1951; Polyak 1964; Nesterov's variant as in Sutskever et al. 2013, after its substitution."""

    learning_rate: Rate
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(g)
        velocity = fading_sum(self.gradients, self.momentum)
        direction = g + self.momentum * velocity if self.nesterov else velocity
        return x - rate * direction - rate * self.weight_decay * x


@dataclass
class RMSprop:
    """Tieleman and Hinton 2012; `centered` as in Graves 2013, eq. 38-41; the rate stands outside the momentum."""

    learning_rate: Rate
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)
    directions: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(g)
        variance = moving_average([past**2 for past in self.gradients], self.rho)
        if self.centered:
            variance = variance - moving_average(self.gradients, self.rho) ** 2
        self.directions.append(g / np.sqrt(variance + self.epsilon))
        return x - rate * fading_sum(self.directions, self.momentum) - rate * self.weight_decay * x


@dataclass
class Adam:
    """Kingma and Ba 2014, algorithm 1; `amsgrad`: Reddi et al. 2018, algorithm 2; decay: Loshchilov and Hutter 2017."""

    learning_rate: Rate
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False
    bias_correction: bool = True
    weight_decay: float = 0.0
    t: int = 0
    m: np.ndarray | float = 0.0
    v: np.ndarray | float = 0.0
    v_max: np.ndarray | float = 0.0

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, self.t)
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * g**2
        self.v_max = np.maximum(self.v_max, self.v)
        m_hat, v_hat = self.m, self.v_max if self.amsgrad else self.v
        if self.bias_correction:
            m_hat = m_hat / (1 - self.beta_1**self.t)
            v_hat = v_hat / (1 - self.beta_2**self.t)
        return x - rate * (m_hat / (np.sqrt(v_hat) + self.epsilon) + self.weight_decay * x)


@dataclass
class AdamW(Adam):
    """Loshchilov and Hutter 2017, algorithm 2, with the decay multiplied by the whole learning rate."""

    weight_decay: float = 0.004


def clipped_by_value(gradients: Sequence[np.ndarray], limit: float) -> list[np.ndarray]:
    return [np.sign(g) * np.where(np.abs(g) > limit, limit, np.abs(g)) for g in gradients]


def clipped_by_norm(gradients: Sequence[np.ndarray], limit: float) -> list[np.ndarray]:
    return [shortened(g, np.linalg.norm(g.ravel()), limit) for g in gradients]


def clipped_by_global_norm(gradients: Sequence[np.ndarray], limit: float) -> list[np.ndarray]:
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in gradients]))
    return [shortened(g, norm, limit) for g in gradients]


def shortened(g: np.ndarray, norm: float, limit: float) -> np.ndarray:
    return g if norm <= limit else limit * g / norm


@dataclass
class After:
    """Another reference, fed with changed gradients."""

    change: Callable[[np.ndarray], np.ndarray]
    inner: "SGD | RMSprop | Adam"

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        return self.inner.step(x, self.change(g))


@dataclass
class ProximalDecay:
    """A step of another reference without decay, then the minimum of decay/2 x^2 + (x - y)^2 / (2 rate) around it."""

    inner: "SGD | RMSprop | Adam | After"
    learning_rate: float
    weight_decay: float

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        return self.inner.step(x, g) / (1 + self.learning_rate * self.weight_decay)


def cosine(t: np.ndarray, rate: float, steps: int, alpha: float) -> np.ndarray:
    return rate * (alpha + (1 - alpha) * (1 + np.cos(np.pi * np.minimum(t, steps) / steps)) / 2)


def ramp(t: np.ndarray, steps: int, start: float) -> np.ndarray:
    return np.interp(t + 1, [0, steps], [start, 1])
