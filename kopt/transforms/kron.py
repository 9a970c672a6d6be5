"""Kron: gradients whitened by a factor for the inputs and a factor for the outputs of each kernel."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._backend import adapter_module
from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.layout import matrix_shape
from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Slot, State, Tensor, Transform

FLAT_STEPS, DECAY, LONGEST_INTERVAL = 500, 1e-3, 100 / 3
LONG_AGO = 1e9


@register
class ScaleByKron(Transform):
    """Multiplies an average of the gradients by a matrix that makes its elements uncorrelated and of size 1.

    ```
    m <- beta_1 m + (1 - beta_1) g,    G = m / (1 - beta_1^t)             as a matrix (in, out)
    u  = L^T L G R^T R                                                    L, R upper triangular, at first identities

    before that, at some steps, with A = L G R^T and E = 1 at the places on and above the diagonal, else 0:
    L <- L - rate / |S| (E * D) L,   D = A A^T - |R^-1|_F^2 L^-T L^-1,    S = A A^T + |R^-1|_F^2 L^-T L^-1
    R <- R - rate / |S| (E * D) R,   D = A^T A - |L^-1|_F^2 R^-T R^-1,    S = A^T A + |L^-1|_F^2 R^-T R^-1
    ```

    This is descent on the whitening criterion g^T P g + tr(P^-1), P = (R^T R) x (L^T L), in the group of triangular
    matrices. The published algorithm draws a random matrix V at each of these steps; where it has B B^T, B being
    L^-T V R^-1, stands here the mean of that over V. So nothing is random: runs repeat bit for bit, also over saving
    and loading, replicas agree by themselves, and the descent has less noise. The price is two triangular inverses in
    place of two solves.

    |S| is a lower bound of the largest eigenvalue: |S s| / |s|, s being S times its longest column. Before each of
    these steps L and R are scaled to the same largest element, which leaves P as it is. A side with more than
    `max_size_triangular` elements, or with one, has a diagonal factor, for which |S| is the largest element; a vector
    has one diagonal factor in all. While the average gradient is zero, the factors stay.

    Args:
        beta_1: Decay rate of the average of gradients, in [0, 1).
        precondition_frequency: The factors change at every so many-th step, from the first on. None for each of the
            first 500 steps, then ever more rarely, down to 3 in 100 after 4,000.
        precondition_learning_rate: `rate` above, in [0, 1].
        max_size_triangular: Longest side with a triangular factor, >= 1.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Li 2018, https://arxiv.org/abs/1512.04202; Li 2022, https://arxiv.org/abs/2211.04422; Pooladzandi and Li 2024,
        https://arxiv.org/abs/2402.04553.
    """

    elementwise = False
    batches = True
    schedulable = ("beta_1", "precondition_learning_rate")

    def __init__(
        self,
        beta_1: Hyperparameter = 0.9,
        precondition_frequency: int | None = None,
        precondition_learning_rate: Hyperparameter = 0.1,
        max_size_triangular: int = 8192,
    ) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.precondition_frequency = checks.optional(checks.count, "precondition_frequency", precondition_frequency)
        self.precondition_learning_rate = checks.fraction(
            "precondition_learning_rate", precondition_learning_rate, one=True
        )
        self.max_size_triangular = checks.count("max_size_triangular", max_size_triangular)

    def slots(self, variable: Any) -> Sequence[Slot]:
        shape = tuple(variable.shape)
        if len(shape) < 2:
            size = math.prod(shape)
            return [Slot("momentum", (size, 1)), Slot("left", (size,))]
        sizes = matrix_shape(variable)
        is_triangular = [1 < n <= self.max_size_triangular for n in sizes]
        shapes = [(n, n) if triangular else (n,) for n, triangular in zip(sizes, is_triangular, strict=True)]
        return [Slot("momentum", sizes), *map(Slot, ("left", "right"), shapes)]

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("steps_since_change", (), LONG_AGO)]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        interval = self.precondition_frequency
        if interval is None:
            interval = ops.exp(ops.clip(DECAY * (t - 1 - FLAT_STEPS), 0.0, math.log(LONGEST_INTERVAL)))
        return {
            "weight": 1 - self.beta_1,
            "correction": 1 / one_minus_power(self.beta_1, t),
            "interval": interval,
            "rate": self.precondition_learning_rate,
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        waited = own["steps_since_change"] + 1
        is_due = ops.cast(waited >= h["interval"], waited.dtype)
        return {"is_due": is_due}, {"steps_since_change": waited * (1 - is_due)}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"]
        m = m + (ops.reshape(u, m.shape) - m) * h["weight"]
        g = m * h["correction"]
        names = [name for name in ("left", "right") if name in slots]
        old = [_started(slots[name], g) for name in names]
        new = adapter_module.branch(h["is_due"] > 0, lambda: _changed(old, g, h["rate"]), lambda: old)
        return ops.reshape(_whitened(g, new), u.shape), {"momentum": m, **dict(zip(names, new, strict=True))}


def _whitened(g: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Returns L^T L G R^T R; for a vector, which is one column, L^T L G as a row."""
    for q in factors:
        a = _times(q, g)
        g = _transposed(ops.matmul(_transposed(q), a) if _is_triangular(q, g) else _times(q, a))
    return g


def _changed(factors: Sequence[Tensor], g: Tensor, rate: Tensor) -> list[Tensor]:
    """Returns the factors after one step of descent on the whitening criterion."""
    factors = _balanced(factors, g)
    inverses = [_inverse(q, g) for q in factors]
    squares = [ops.sum(ops.square(inverse), axis=_axes(inverse, g)) for inverse in inverses]
    # The factor for the inputs sees A, the one for the outputs A^T; to each, the other one is a number.
    a = _times(factors[0], g)
    a = _transposed(_times(factors[1], _transposed(a))) if len(factors) > 1 else a
    rows, others = [a, _transposed(a)], squares[::-1] if len(factors) > 1 else [ops.ones_like(squares[0])]
    is_seen = ops.any(g != 0, axis=(-2, -1))
    changed = []
    for q, inverse, r, other in zip(factors, inverses, rows, others, strict=False):
        change = _triangular_change if _is_triangular(q, g) else _diagonal_change
        changed.append(ops.where(_along(q, is_seen, g), q - rate * change(q, inverse, r, other), q))
    return changed


def _triangular_change(q: Tensor, inverse: Tensor, rows: Tensor, other: Tensor) -> Tensor:
    gram = ops.matmul(rows, _transposed(rows))
    noise = ops.matmul(_transposed(inverse), inverse) * other[..., None, None]
    return ops.matmul(ops.triu(gram - noise), q) / _largest_eigenvalue(gram + noise)[..., None, None]


def _diagonal_change(q: Tensor, inverse: Tensor, rows: Tensor, other: Tensor) -> Tensor:
    gram = ops.sum(ops.square(rows), axis=-1)
    noise = ops.square(inverse) * other[..., None]
    return (gram - noise) * q / ops.max(gram + noise, axis=-1, keepdims=True)


def _largest_eigenvalue(s: Tensor) -> Tensor:
    """Returns a lower bound for positive definite `s`: two steps of power iteration from its longest column."""
    scale = ops.max(ops.abs(s), axis=(-2, -1), keepdims=True)
    s = s / scale
    longest = ops.argmax(ops.sum(ops.square(s), axis=-2), axis=-1)[..., None]
    is_longest = ops.cast(ops.equal(ops.arange(s.shape[-1], dtype=longest.dtype), longest), s.dtype)
    vector = ops.matmul(s, ops.matmul(s, is_longest[..., None]))
    return (scale * _norm(ops.matmul(s, vector)) / _norm(vector))[..., 0, 0]


def _balanced(factors: Sequence[Tensor], g: Tensor) -> list[Tensor]:
    """Returns the factors with one largest element: their product is the same."""
    if len(factors) == 1:
        return list(factors)
    left, right = factors
    scale = ops.sqrt(_largest(right, g) / _largest(left, g))
    return [left * _along(left, scale, g), right / _along(right, scale, g)]


def _started(q: Tensor, g: Tensor) -> Tensor:
    """Returns the factor, or the identity if it is still as it was built: zero, which no diagonal becomes later."""
    is_zero = ops.cast(ops.equal(q, 0), g.dtype)
    return q + (is_zero * ops.eye(q.shape[-1], dtype=g.dtype) if _is_triangular(q, g) else is_zero)


def _inverse(q: Tensor, g: Tensor) -> Tensor:
    if not _is_triangular(q, g):
        return 1 / q
    identity = ops.broadcast_to(ops.eye(q.shape[-1], dtype=g.dtype), q.shape)
    return ops.solve_triangular(q, identity, lower=False)


def _times(q: Tensor, g: Tensor) -> Tensor:
    return ops.matmul(q, g) if _is_triangular(q, g) else q[..., None] * g


def _is_triangular(q: Tensor, g: Tensor) -> bool:
    return len(q.shape) == len(g.shape)


def _axes(q: Tensor, g: Tensor) -> tuple[int, ...]:
    return (-2, -1) if _is_triangular(q, g) else (-1,)


def _along(q: Tensor, number: Tensor, g: Tensor) -> Tensor:
    """Returns one number for each matrix in such a shape that it meets all elements of the factor."""
    return number[..., None, None] if _is_triangular(q, g) else number[..., None]


def _largest(q: Tensor, g: Tensor) -> Tensor:
    return ops.max(ops.abs(q), axis=_axes(q, g))


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True))


def _transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)
