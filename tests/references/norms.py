"""Trust ratios, clipped root mean squares and factored second moments in float64, from the papers' formulas."""

from dataclasses import dataclass, field

import numpy as np

from references.first import Rate, fading_sum, moving_average, rate_at


def size(x: np.ndarray) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(x**2)))


def unbiased(history: list[np.ndarray], decay: float) -> np.ndarray:
    """Averages a history with weights decay^age that sum to 1."""
    weights = decay ** np.arange(len(history))[::-1]
    return np.tensordot(weights / weights.sum(), np.array(history), axes=1)


def adam_direction(gradients: list[np.ndarray], beta_1: float, beta_2: float, epsilon: float) -> np.ndarray:
    return unbiased(gradients, beta_1) / (np.sqrt(unbiased([g**2 for g in gradients], beta_2)) + epsilon)


@dataclass
class LAMB:
    """You et al. 2019, algorithm 2, with the identity for phi."""

    learning_rate: Rate
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    bias_correction: bool = True
    scale_vectors: bool = True
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(g)
        if self.bias_correction:
            r = adam_direction(self.gradients, self.beta_1, self.beta_2, self.epsilon)
        else:
            v = moving_average([past**2 for past in self.gradients], self.beta_2)
            r = moving_average(self.gradients, self.beta_1) / (np.sqrt(v) + self.epsilon)
        u = r + self.weight_decay * x
        is_scaled = self.scale_vectors or x.ndim >= 2
        return x - rate * (np.linalg.norm(x.ravel()) * u / np.linalg.norm(u.ravel()) if is_scaled else u)


@dataclass
class LARS:
    """You et al. 2017, algorithm 1; `separate_norms=False`: the divisor is the norm of the decayed gradient."""

    learning_rate: Rate
    momentum: float = 0.9
    trust_coefficient: float = 1e-3
    epsilon: float = 0.0
    nesterov: bool = False
    separate_norms: bool = False
    scale_vectors: bool = True
    weight_decay: float = 0.0
    moves: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.moves))
        u = g + self.weight_decay * x
        norm_x, norm_g, norm_u = (np.linalg.norm(a.ravel()) for a in (x, g, u))
        divisor = norm_g + self.weight_decay * norm_x if self.separate_norms else norm_u
        local = self.trust_coefficient * norm_x / (divisor + self.epsilon)
        self.moves.append(rate * (local if self.scale_vectors or x.ndim >= 2 else 1.0) * u)
        velocity = fading_sum(self.moves, self.momentum)
        return x - (self.moves[-1] + self.momentum * velocity if self.nesterov else velocity)


@dataclass
class StableAdamW:
    """Wortsman et al. 2023, algorithm 2."""

    learning_rate: Rate
    beta_1: float = 0.9
    beta_2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(g)
        mean_square = unbiased([past**2 for past in self.gradients], self.beta_2)
        excess = np.sqrt(np.mean(g**2 / np.maximum(mean_square, self.epsilon**2)))
        eta = rate / max(1.0, excess)
        shrunken = x - eta * self.weight_decay * x
        return shrunken - eta * adam_direction(self.gradients, self.beta_1, self.beta_2, self.epsilon)


@dataclass
class MARS:
    """Yuan et al. 2024, algorithm 2 with approximate differences; AdamW on vectors."""

    learning_rate: Rate
    beta_1: float = 0.95
    beta_2: float = 0.99
    gamma: float = 0.025
    epsilon: float = 1e-8
    vector_beta_1: float = 0.9
    vector_beta_2: float = 0.95
    correct_vectors: bool = False
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.gradients))
        self.gradients.append(g)
        betas, seen = (self.vector_beta_1, self.vector_beta_2), self.gradients
        if self.correct_vectors or x.ndim >= 2:
            betas, seen = (self.beta_1, self.beta_2), [self.corrected(n) for n in range(len(self.gradients))]
        direction = adam_direction(seen, *betas, self.epsilon)
        return x - rate * direction - rate * self.weight_decay * x

    def corrected(self, n: int) -> np.ndarray:
        change = np.diff(self.gradients, axis=0, prepend=0 * self.gradients[0][None])[n]
        c = self.gradients[n] + self.gamma * self.beta_1 / (1 - self.beta_1) * change
        return c / max(1.0, np.linalg.norm(c.ravel()))


def rank_one(square: np.ndarray) -> np.ndarray:
    """Returns the matrix of rank one with the same row and column sums; vectors as they are."""
    if square.ndim < 2:
        return square
    matrix = square.reshape(-1, square.shape[-1])
    return (np.outer(matrix.sum(1), matrix.sum(0)) / matrix.sum()).reshape(square.shape)


@dataclass
class Adafactor:
    """Shazeer and Stern 2018, algorithms 4 and 5; all means are kept in full and factored at the end."""

    learning_rate: Rate
    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float | None = 1.0
    beta_1: float = 0.0
    relative_step: bool = True
    scale_parameter: bool = True
    weight_decay: float = 0.0
    t: int = 0
    square: np.ndarray | float = 0.0
    updates: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, self.t)
        self.t += 1
        beta_2 = 1 - self.t**self.beta_2_decay
        self.square = beta_2 * self.square + (1 - beta_2) * (g**2 + self.epsilon_1)
        u = g / np.sqrt(rank_one(self.square))
        if self.clip_threshold is not None:
            u = u / max(1.0, size(u) / self.clip_threshold)
        alpha = max(self.epsilon_2, size(x)) if self.scale_parameter else 1.0
        rho = min(rate, 1 / np.sqrt(self.t)) if self.relative_step else rate
        self.updates.append(alpha * rho * u)
        return x - moving_average(self.updates, self.beta_1) - rate * self.weight_decay * x


@dataclass
class CAME:
    """Luo et al. 2023, algorithm 2; vectors step by the average itself."""

    learning_rate: Rate
    beta_1: float = 0.9
    beta_2: float = 0.999
    beta_3: float = 0.9999
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-16
    clip_threshold: float | None = 1.0
    weight_decay: float = 0.0
    squares: list = field(default_factory=list)
    updates: list = field(default_factory=list)
    instabilities: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        rate = rate_at(self.learning_rate, len(self.updates))
        self.squares.append(g**2 + self.epsilon_1)
        u = g / np.sqrt(rank_one(moving_average(self.squares, self.beta_2)))
        if self.clip_threshold is not None:
            u = u / max(1.0, size(u) / self.clip_threshold)
        self.updates.append(u)
        m = moving_average(self.updates, self.beta_1)
        self.instabilities.append((u - m) ** 2 + self.epsilon_2)
        if x.ndim >= 2:
            m = m / np.sqrt(rank_one(moving_average(self.instabilities, self.beta_3)))
        return x - rate * m - rate * self.weight_decay * x
