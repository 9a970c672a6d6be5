"""L-BFGS: a direction from the last changes of weights and gradients, and a line search that needs slopes only."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.transforms.rate import inverse_rate
from kopt.transforms.transform import Slot, State, Tensor, Transform

_SEARCH = ("size", "alpha", "low", "low_slope", "high", "high_slope", "trials")
_MOST_TRIALS = 20
_LONGEST_LEAP = 10.0
_STEEP = 1e30


class Slopes(NamedTuple):
    """What the derivative along the direction says about a trial point, as booleans.

    Attributes:
        at_start: The derivative where the search began.
        here: The derivative at the trial point.
        is_finite: Whether the gradient is.
        restarts: Whether there is nothing to go on from.
        is_short: Whether the minimum is further along.
        is_accepted: Whether the next direction starts here.
    """

    at_start: Tensor
    here: Tensor
    is_finite: Tensor
    restarts: Tensor
    is_short: Tensor
    is_accepted: Tensor


@register
class ScaleByLBFGS(Transform):
    """Multiplies the gradient by an estimate of the inverse Hessian, and searches along that direction.

    With s and y the last `memory` changes of weights and gradients between accepted points:

    ```
    H  = (I - s y' / y's) ... (I - s y' / y's) gamma I (I - y s' / y's) ... (I - y s' / y's) + terms in s s'
    gamma = y's / y'y  of the newest pair
    d  = -learning_rate H g,        taken at the last accepted point x
    x + alpha d                     the weights: a trial point
    ```

    Each step has one gradient, that at the trial point. With f(a) the loss at x + a d, it is accepted where

    ```
    (2 decrease - 1) f'(0) >= f'(alpha) >= curvature f'(0)
    ```

    (Hager and Zhang's approximate Wolfe conditions: derivatives only). Then the next direction starts from it, with
    alpha = 1 (at the first of all min(1, 1 / |g|_1)). Else the next trial point is a secant step, inside the bracket
    once there is one. The loss itself is not looked at, and after 20 trials the point is accepted as it is.

    A pair is kept if y's > epsilon |s| |y|. Products are over all variables together. A gradient that is not finite is
    a step that was too long. `ScaleByLearningRate` must stand behind: the step is divided by the rate that it puts
    back.

    Args:
        memory: How many pairs to keep, >= 1.
        decrease: In [0, 1/2).
        curvature: In [0, 1), not less than `decrease`.
        epsilon: Least cosine between s and y, >= 0.
        line_search: Whether to search. Without it alpha is 1 and every point is accepted.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization"; Byrd, Nocedal and
        Schnabel 1994, "Representations of quasi-Newton matrices and their use in limited memory methods"; Hager and
        Zhang 2005, "A new conjugate gradient method with guaranteed descent and an efficient line search".
    """

    elementwise = False

    def __init__(
        self,
        memory: int = 10,
        decrease: float = 0.1,
        curvature: float = 0.9,
        epsilon: float = 1e-8,
        *,
        line_search: bool = True,
    ) -> None:
        self.memory = checks.count("memory", memory)
        self.decrease = checks.fraction("decrease", decrease)
        self.curvature = checks.fraction("curvature", curvature)
        if not self.decrease < 0.5 or self.curvature < self.decrease:
            rule = "below 0.5 and not above `curvature`"
            raise checks.fail("decrease", rule, decrease, f"`curvature` is {self.curvature}.")
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.line_search = checks.flag("line_search", line_search)

    def slots(self, variable: Any) -> Sequence[Slot]:
        history = (self.memory, *(int(size) for size in variable.shape))
        own = [Slot("accepted", start="variable"), Slot("gradient"), Slot("direction")]
        return [*own, Slot("steps", history), Slot("changes", history)]

    def own_slots(self) -> Sequence[Slot]:
        square = (self.memory, self.memory)
        return [*(Slot(name, ()) for name in _SEARCH), Slot("steps_changes", square), Slot("changes_changes", square)]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "rate": learning_rate,
            "per_rate": inverse_rate(learning_rate),
            "steepest": 1 - 2 * self.decrease,
            "curvature": self.curvature,
            "epsilon": self.epsilon,
        }

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        old = {name: [state[name] for state in slots] for name in ("accepted", "gradient", "direction")}
        s = [x - start for x, start in zip(params, old["accepted"], strict=True)]
        y = [u - g for u, g in zip(updates, old["gradient"], strict=True)]
        size = float(sum(math.prod(u.shape) for u in updates))
        slopes = self._slopes(_dot(old["gradient"], old["direction"]), updates, old["direction"], size, own, h)
        sy = _dot(s, y)
        is_kept = ops.logical_and(slopes.is_accepted, ops.logical_not(slopes.restarts))
        is_kept = ops.logical_and(is_kept, sy > h["epsilon"] * ops.sqrt(_dot(s, s)) * ops.sqrt(_dot(y, y)))
        steps, changes = [state["steps"] for state in slots], [state["changes"] for state in slots]

        def appended(history: Sequence[Tensor], newest: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
            dots = _dots(history, other)
            return ops.where(is_kept, ops.concatenate([dots[1:], ops.reshape(_dot(newest, other), (1,))]), dots)

        sy_all = _with_column(own["steps_changes"], appended(steps, s, y), is_kept, slopes.restarts)
        yy_all = _with_column(own["changes_changes"], appended(changes, y, y), is_kept, slopes.restarts)
        gamma, a, p = direction_weights(sy_all, yy_all, appended(steps, s, updates), appended(changes, y, updates))
        length = _sum([ops.sum(ops.absolute(u)) for u in updates])
        first = ops.where(slopes.restarts, 1.0 / ops.maximum(length, 1.0), 1.0)
        search = self._next_trial(slopes, first, own) if self.line_search else {**own, "alpha": first}
        flags = {"is_accepted": slopes.is_accepted, "is_kept": is_kept}
        extra = {name: ops.cast(flag, "float32") for name, flag in flags.items()}
        extra |= {"alpha": search["alpha"], "gamma": gamma, "steps_weights": a, "changes_weights": gamma * p}
        matrices = {"steps_changes": sy_all, "changes_changes": yy_all}
        return extra, {**search, "size": ops.full_like(own["size"], size), **matrices}

    def _slopes(
        self, at_start: Tensor, u: Sequence[Tensor], d: Sequence[Tensor], size: float, own: State, h: State
    ) -> Slopes:
        here = _dot(u, d)
        is_finite = ops.isfinite(_dot(u, u))
        # Other variables than before have gradients (at step 1: none had), or the direction leads nowhere.
        restarts = ops.logical_or(ops.not_equal(own["size"], size), ops.logical_not(at_start < 0))
        is_short = ops.logical_and(is_finite, here < h["curvature"] * at_start)
        is_long = ops.logical_or(ops.logical_not(is_finite), here > -h["steepest"] * at_start)
        if not self.line_search:
            return Slopes(at_start, here, is_finite, restarts, is_short, ops.ones_like(restarts))
        is_last = ops.logical_and(is_finite, own["trials"] >= _MOST_TRIALS)
        is_within = ops.logical_not(ops.logical_or(is_short, is_long))
        is_accepted = ops.logical_or(ops.logical_or(restarts, is_within), is_last)
        return Slopes(at_start, here, is_finite, restarts, is_short, is_accepted)

    def _next_trial(self, slopes: Slopes, first: Tensor, own: State) -> State:
        """Returns the state of the search: at its beginning, or with a smaller bracket."""
        alpha, is_short = own["alpha"], slopes.is_short
        start_slope = ops.where(own["low"] > 0, own["low_slope"], slopes.at_start)
        low, low_slope = ops.where(is_short, alpha, own["low"]), ops.where(is_short, slopes.here, start_slope)
        high = ops.where(is_short, own["high"], alpha)
        long_slope = ops.where(slopes.is_finite, slopes.here, _STEEP)
        high_slope = ops.where(is_short, own["high_slope"], long_slope)
        share = low_slope / ops.minimum(low_slope - high_slope, -1e-30)
        # Beyond a wall there is no slope to draw a secant through.
        share = ops.where(ops.logical_and(high_slope >= _STEEP, low > 0), 0.5, share)
        inside = low + ops.clip(share, 0.1, 0.9) * (high - low)
        rise = slopes.here - start_slope
        leap = ops.where(rise > 0, -slopes.here / ops.where(rise > 0, rise, 1.0), _LONGEST_LEAP)
        outside = alpha + ops.clip(leap, 1.0, _LONGEST_LEAP) * (alpha - own["low"])
        going_on = {
            "alpha": ops.where(high > 0, inside, outside),
            "low": low,
            "low_slope": low_slope,
            "high": high,
            "high_slope": high_slope,
            "trials": own["trials"] + 1.0,
        }
        anew = {name: ops.zeros_like(value) for name, value in going_on.items()} | {"alpha": first}
        return {name: ops.where(slopes.is_accepted, anew[name], going_on[name]) for name in going_on}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        is_accepted, is_kept = h["is_accepted"] > 0, h["is_kept"] > 0

        def appended(history: Tensor, newest: Tensor) -> Tensor:
            return ops.where(is_kept, ops.concatenate([history[1:], ops.expand_dims(newest, 0)]), history)

        steps = appended(slots["steps"], x - slots["accepted"])
        changes = appended(slots["changes"], u - slots["gradient"])
        hg = u * h["gamma"] + _combined(h["steps_weights"], steps) - _combined(h["changes_weights"], changes)
        d = ops.where(is_accepted, -h["rate"] * hg, slots["direction"])
        start = ops.where(is_accepted, x, slots["accepted"])
        new = {
            "accepted": start,
            "gradient": ops.where(is_accepted, u, slots["gradient"]),
            "direction": d,
            "steps": steps,
            "changes": changes,
        }
        return (x - (start + d * h["alpha"])) * h["per_rate"], new


def direction_weights(sy: Tensor, yy: Tensor, sg: Tensor, yg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns gamma, a and p such that H g = gamma g + sum of a_i s_i - gamma sum of p_i y_i.

    This is the two-loop recursion, solved for its coefficients (Byrd et al. 1994, theorem 2.2): products of vectors are
    taken once, and the recursion runs on `memory` numbers. Pairs are in the order of time; a pair with s'y = 0 is none.

    Args:
        sy: s_i'y_j for i <= j.
        yy: y_i'y_j for i <= j.
        sg: s_i'g.
        yg: y_i'g.
    """
    diagonal = ops.diagonal(sy)
    is_pair = diagonal > 0
    r = ops.triu(sy) + ops.diag(ops.where(is_pair, 0.0, 1.0))
    gamma = ops.where(is_pair[-1], diagonal[-1] / ops.where(is_pair[-1], yy[-1, -1], 1.0), 1.0)
    p = ops.solve_triangular(r, ops.where(is_pair, sg, 0.0))
    yy = ops.triu(yy) + ops.transpose(ops.triu(yy, 1))
    q = diagonal * p + gamma * (ops.sum(yy * p, axis=1) - yg)
    a = ops.solve_triangular(ops.transpose(r), ops.where(is_pair, q, 0.0), lower=True)
    return gamma, a, p


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Returns the product of two vectors, each in parts: a matrix product might round to fewer digits on a GPU."""
    return _sum([ops.sum(x * y) for x, y in zip(a, b, strict=True)])


def _dots(history: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Returns the product of each vector of a history with b."""
    parts = [ops.sum(rows * x, axis=tuple(range(1, len(rows.shape)))) for rows, x in zip(history, b, strict=True)]
    return ops.sum(ops.stack([ops.cast(part, "float32") for part in parts]), axis=0)


def _sum(numbers: Sequence[Tensor]) -> Tensor:
    return ops.sum(ops.stack([ops.cast(number, "float32") for number in numbers]))


def _combined(weights: Tensor, history: Tensor) -> Tensor:
    return ops.sum(ops.reshape(weights, (-1, *(1 for _ in history.shape[1:]))) * history, axis=0)


def _with_column(matrix: Tensor, column: Tensor, is_kept: Tensor, restarts: Tensor) -> Tensor:
    """Returns the products among the pairs after one has come and the oldest has gone, or all have."""
    rows = ops.concatenate([matrix[1:, 1:], ops.zeros_like(matrix[:1, 1:])])
    new = ops.concatenate([rows, ops.expand_dims(column, 1)], axis=1)
    return ops.where(is_kept, new, ops.where(restarts, ops.zeros_like(matrix), matrix))
