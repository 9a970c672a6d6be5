"""Signs, accumulated squares and rows in float64 NumPy, written from the papers' formulas."""

from dataclasses import dataclass, field

import numpy as np

from references.first import SGD, fading_sum, moving_average


@dataclass
class SGDW(SGD):
    """Loshchilov and Hutter 2017, algorithm 1, with the decay multiplied by the whole learning rate."""

    momentum: float = 0.9
    weight_decay: float = 0.005


@dataclass
class Decaying:
    """A reference that remembers the gradients and decays weights beside the step of `direction`."""

    learning_rate: float
    weight_decay: float = 0.0
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.gradients.append(g)
        return x - self.learning_rate * self.direction() - self.learning_rate * self.weight_decay * x


@dataclass
class Lion(Decaying):
    """Chen et al. 2023, program 1; the average of past gradients in closed form."""

    beta_1: float = 0.9
    beta_2: float = 0.99

    def direction(self) -> np.ndarray:
        *past, g = self.gradients
        return np.sign((1 - self.beta_1) * g + self.beta_1 * moving_average(past, self.beta_2))


@dataclass
class Signum(Decaying):
    """Bernstein et al. 2018, algorithm 2; algorithm 1 (signSGD) without momentum."""

    momentum: float = 0.9

    def direction(self) -> np.ndarray:
        return np.sign(moving_average(self.gradients, self.momentum))


@dataclass
class Adagrad(Decaying):
    """Duchi et al. 2011, the diagonal form, over the whole history at once."""

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    def direction(self) -> np.ndarray:
        squares = [g**2 for g in self.gradients]
        return self.gradients[-1] / np.sqrt(self.initial_accumulator_value + self.epsilon + sum(squares))


@dataclass
class Adadelta(Decaying):
    """Zeiler 2012, algorithm 1: the ratio of two RMS over the whole histories."""

    rho: float = 0.95
    epsilon: float = 1e-7
    updates: list = field(default_factory=list)

    def rms(self, history: list) -> np.ndarray:
        return np.sqrt(moving_average([past**2 for past in history], self.rho) + self.epsilon)

    def direction(self) -> np.ndarray:
        self.updates.append(self.gradients[-1] * self.rms(self.updates) / self.rms(self.gradients))
        return self.updates[-1]


@dataclass
class NovoGrad(Decaying):
    """Ginsburg et al. 2019, algorithm 1: v starts at the first squared norm; the decay is inside the momentum."""

    beta_1: float = 0.95
    beta_2: float = 0.98
    epsilon: float = 1e-8
    normalized: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.gradients.append(g)
        first, *later = [np.sum(past**2) for past in self.gradients]
        v = self.beta_2 ** len(later) * first + moving_average(later, self.beta_2)
        self.normalized.append(g / (np.sqrt(v) + self.epsilon) + self.weight_decay * x)
        return x - self.learning_rate * fading_sum(self.normalized, self.beta_1)


@dataclass
class SM3(Decaying):
    """Anil et al. 2019, algorithm SM3-II, element by element; the cover is the slices along each axis."""

    momentum: float = 0.9
    epsilon: float = 1e-30
    bounds: dict = field(default_factory=dict)
    directions: list = field(default_factory=list)

    def direction(self) -> np.ndarray:
        g, bounds = self.gradients[-1], {}
        scaled = np.zeros_like(g)
        for place in np.ndindex(g.shape):
            sets = list(enumerate(place)) or [("all", 0)]
            nu = min(self.bounds.get(one, 0.0) for one in sets) + g[place] ** 2
            for one in sets:
                bounds[one] = max(bounds.get(one, 0.0), nu)
            scaled[place] = g[place] / np.sqrt(nu + self.epsilon)
        self.bounds = bounds
        self.directions.append(scaled)
        return moving_average(self.directions, self.momentum)


@dataclass
class MADGRAD:
    """Defazio and Jelassi 2021, algorithm 1, with decoupled decay; without momentum decay moves x_0, too."""

    learning_rate: float
    momentum: float = 0.9
    epsilon: float = 1e-6
    weight_decay: float = 0.0
    x0: np.ndarray | None = None
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.x0 = x if self.x0 is None else self.x0
        self.gradients.append(g)
        weights = [self.learning_rate * np.sqrt(k + 1) for k in range(len(self.gradients))]
        total = sum(w * past for w, past in zip(weights, self.gradients, strict=True))
        squares = sum(w * past**2 for w, past in zip(weights, self.gradients, strict=True))
        z = self.x0 - total / (np.cbrt(squares) + self.epsilon)
        shrunk = self.learning_rate * self.weight_decay * x
        if not self.momentum:
            self.x0 = self.x0 - shrunk
        return self.momentum * x + (1 - self.momentum) * z - shrunk


@dataclass
class Rprop:
    """Riedmiller and Braun 1993 as torch has it: after a change of sign, no move and no comparison at the next step."""

    learning_rate: float
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    min_step_size: float = 1e-6
    max_step_size: float = 50.0
    weight_decay: float = 0.0
    sizes: dict = field(default_factory=dict)
    signs: dict = field(default_factory=dict)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        moved = np.array(x)
        for place in np.ndindex(x.shape):
            moved[place] -= self.move(place, int(np.sign(g[place])))
        return moved - self.learning_rate * self.weight_decay * x

    def move(self, place: tuple, sign: int) -> float:
        size = self.sizes.get(place, self.learning_rate)
        agreement = sign * self.signs.get(place, 0)
        size *= {1: self.eta_plus, 0: 1.0, -1: self.eta_minus}[agreement]
        self.sizes[place] = min(max(size, self.min_step_size), self.max_step_size)
        self.signs[place] = 0 if agreement < 0 else sign
        return self.sizes[place] * self.signs[place]


@dataclass
class LazyAdam:
    """Adam with a memory of its own for each row: one that has no gradient neither moves nor forgets."""

    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    lazy: object = None
    t: int = 0
    histories: dict = field(default_factory=dict)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.t += 1
        rows = range(len(x)) if x.ndim > 1 else [...]
        moved = np.array(x)
        for row in rows:
            if x.ndim > 1 and not g[row].any():
                continue
            history = self.histories.setdefault(row, [])
            history.append(g[row])
            m = moving_average(history, self.beta_1) / (1 - self.beta_1**self.t)
            v = moving_average([past**2 for past in history], self.beta_2) / (1 - self.beta_2**self.t)
            moved[row] -= self.learning_rate * (m / (np.sqrt(v) + self.epsilon) + self.weight_decay * x[row])
        return moved
