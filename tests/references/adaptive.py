"""Adam's relatives in float64 NumPy: see `references.first` for what a reference is.

Averages are written as sums over the whole history, so that no recursion is shared with what is tested.
"""

from dataclasses import dataclass, field

import numpy as np

from references.first import moving_average


def corrected(history, decay):
    """Averages a history that began at 0, divided by the sum of its weights."""
    return moving_average(history, decay) / (1 - decay ** len(history))


@dataclass
class Remembering:
    """Keeps all gradients; the next x is x - rate (direction + decay x)."""

    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)

    def step(self, x, g):
        self.gradients.append(g)
        return x - self.learning_rate * (self.direction() + self.weight_decay * x)

    def direction(self):
        raise NotImplementedError

    @property
    def t(self):
        return len(self.gradients)

    def root(self):
        return np.sqrt(corrected([g**2 for g in self.gradients], self.beta_2)) + self.epsilon


@dataclass
class NAdam(Remembering):
    """Dozat 2016, algorithm 2 with its schedule of mu, without the second beta_2 in the numerator of v."""

    momentum_decay: float | None = None

    def mu(self, t):
        return self.beta_1 * (1 if self.momentum_decay is None else 1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def direction(self):
        mus = np.array([self.mu(i) for i in range(1, self.t + 2)])
        m = moving_average(self.gradients, self.beta_1)
        ahead = mus[-1] * m / (1 - np.prod(mus))
        now = (1 - mus[-2]) * self.gradients[-1] / (1 - np.prod(mus[:-1]))
        return (ahead + now) / self.root()


@dataclass
class NAdamW(NAdam):
    """The same with the default decay of AdamW."""

    weight_decay: float = 0.004


@dataclass
class AdEMAMix(Remembering):
    """Pagliardini et al. 2024, algorithm 1 and equation 3 (the warm-up of beta_3)."""

    beta_3: float = 0.9999
    slow_weight: float = 5.0
    warmup_steps: int = 0

    def slow_beta(self, t):
        if not self.warmup_steps or t >= self.warmup_steps:
            return self.beta_3
        with np.errstate(divide="ignore"):  # log(0) is a half-life of 0
            first, last = np.log(0.5) / np.log([self.beta_1, self.beta_3])
            half_life = first + (last - first) * t / self.warmup_steps
            return min(0.5 ** (1 / half_life), self.beta_3)

    def direction(self):
        betas = np.array([self.slow_beta(i) for i in range(1, self.t + 1)])
        slow = sum((1 - betas[i]) * np.prod(betas[i + 1 :]) * g for i, g in enumerate(self.gradients))
        alpha = self.slow_weight * min(self.t / self.warmup_steps, 1) if self.warmup_steps else self.slow_weight
        return (corrected(self.gradients, self.beta_1) + alpha * slow) / self.root()


@dataclass
class ADOPT(Remembering):
    """Taniguchi et al. 2024, algorithm 2, whose step 0 is our first."""

    beta_2: float = 0.9999
    epsilon: float = 1e-6
    clip_exponent: float | None = 0.25
    clip_delay: int = 1

    def direction(self):
        first, *rest = [g**2 for g in self.gradients]
        normalised = [0 * first]
        for i, g in enumerate(self.gradients[1:]):
            mean_square = self.beta_2**i * first + moving_average([0 * first, *rest[:i]], self.beta_2)
            u = g / np.maximum(np.sqrt(mean_square), self.epsilon)
            if self.clip_exponent is not None:
                u = np.sign(u) * np.minimum(np.abs(u), (i + 2 - self.clip_delay) ** self.clip_exponent)
            normalised.append(u)
        return moving_average(normalised, self.beta_1)


@dataclass
class Adan(Remembering):
    """Xie et al. 2022, algorithm 1 in the letters of its code, which add bias corrections."""

    beta_1: float = 0.98
    beta_2: float = 0.92
    beta_3: float = 0.99

    def step(self, x, g):
        self.gradients.append(g)
        return (x - self.learning_rate * self.direction()) / (1 + self.learning_rate * self.weight_decay)

    def direction(self):
        changes = list(np.diff(np.stack([self.gradients[0], *self.gradients]), axis=0))
        ahead = [g + self.beta_2 * d for g, d in zip(self.gradients, changes, strict=True)]
        n = corrected([u**2 for u in ahead], self.beta_3)
        mixed = corrected(self.gradients, self.beta_1) + self.beta_2 * corrected(changes, self.beta_2)
        return mixed / (np.sqrt(n) + self.epsilon)


@dataclass
class RAdam(Remembering):
    """Liu et al. 2019, algorithm 2, with 5 for the bound on rho and an epsilon beside the root."""

    def direction(self):
        t, power, longest = self.t, self.beta_2**self.t, 2 / (1 - self.beta_2) - 1
        rho = longest - 2 * t * power / (1 - power)
        mean = corrected(self.gradients, self.beta_1)
        if rho < 5:
            return mean
        r = np.sqrt((rho - 4) / (longest - 4) * (rho - 2) / (longest - 2) * longest / rho)
        return r * mean / self.root()


@dataclass
class LaProp(Remembering):
    """Ziyin et al. 2020, algorithm 1."""

    epsilon: float = 1e-15
    normalised: list = field(default_factory=list)

    def direction(self):
        self.normalised.append(self.gradients[-1] / self.root())
        return corrected(self.normalised, self.beta_1)


@dataclass
class Adamax(Remembering):
    """Kingma and Ba 2014, algorithm 2, with epsilon added to each gradient's size."""

    def direction(self):
        ages = range(self.t - 1, -1, -1)
        sizes = [self.beta_2**age * (np.abs(g) + self.epsilon) for age, g in zip(ages, self.gradients, strict=True)]
        return corrected(self.gradients, self.beta_1) / np.max(sizes, axis=0)


@dataclass
class AdaBelief(Remembering):
    """Zhuang et al. 2020, algorithm 2."""

    epsilon: float = 1e-16

    def direction(self):
        means = [moving_average(self.gradients[: i + 1], self.beta_1) for i in range(self.t)]
        squares = [(g - m) ** 2 for g, m in zip(self.gradients, means, strict=True)]
        grown = self.epsilon * sum(self.beta_2**i for i in range(self.t))
        s = (moving_average(squares, self.beta_2) + grown) / (1 - self.beta_2**self.t)
        return corrected(self.gradients, self.beta_1) / (np.sqrt(s) + self.epsilon)


@dataclass
class Yogi(Remembering):
    """Zaheer et al. 2018, algorithm 2, with Adam's bias corrections and a start for v."""

    epsilon: float = 1e-3
    initial_accumulator_value: float = 1e-6

    def direction(self):
        v = np.full_like(self.gradients[0], self.initial_accumulator_value)
        for square in (g**2 for g in self.gradients):
            v = np.where(v > square, v - (1 - self.beta_2) * square, v + (1 - self.beta_2) * square)
        v = v / (1 - self.beta_2**self.t)
        return corrected(self.gradients, self.beta_1) / (np.sqrt(v) + self.epsilon)
