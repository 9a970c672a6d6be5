"""Values of the kernel between any rows and fixed ones, in blocks: most of a suggestion's time is spent here."""

from collections.abc import Mapping, Sequence

import numpy as np

from kopt.tuning.sampler.kernel import SQRT5, Node, TreeKernel, apart, length, matern

Array = np.ndarray
BLOCK = 24_000  # Elements computed at a time: a few arrays of so many stay in a core's own cache.


class Across:
    """The kernel of any rows with fixed ones.

    Rows that were made of one another by changing a few parameters have the factors of the other groups in common:
    these are computed once.

    Args:
        kernel: The kernel.
        theta: Its hyperparameters, shape (size,).
        fixed: Rows, shape (n, d).
    """

    def __init__(self, kernel: TreeKernel, theta: Array, fixed: Array) -> None:
        dimensions = fixed.shape[1]
        weights = np.exp(theta[:dimensions])
        parts = [_below(node, weights, kernel.categorical, fixed) for node in kernel.groups]
        self._groups = list(zip(parts, kernel.members, np.exp(theta[dimensions:]), strict=True))
        self._count = len(fixed)

    def __call__(self, rows: Array) -> Array:
        """Returns the kernel, shape (m, n), for rows of shape (m, d)."""
        kernel = np.ones((len(rows), self._count))
        size = max(1, BLOCK // max(1, self._count))
        for start in range(0, len(rows), size):
            some, block = rows[start : start + size], kernel[start : start + size]
            alike = _Alike(some)
            for part, members, a in self._groups:
                where, which = alike.on(members)
                factor = part(some[where])
                factor *= a / (1 + a)
                factor += 1 / (1 + a)
                block *= factor[which]
        return kernel


class _Within:
    """What is below a node, for rows in the same branch."""

    def __init__(self, node: Node, weights: Array, categorical: Array, fixed: Array) -> None:
        self._leaves = [(leaf, SQRT5 * weights[leaf], categorical[leaf], fixed[None, :, leaf]) for leaf in node.leaves]
        self._nodes = [_below(child, weights, categorical, fixed) for child in node.nodes]
        self._count = len(fixed)

    def __call__(self, rows: Array) -> Array:
        parts = []
        for leaf, weight, categorical, other in self._leaves:
            distance = apart(rows[:, leaf, None], other, categorical=categorical, weight=weight)
            if distance is not None:
                parts.append(distance)
        found = matern(length(parts)) if parts else np.ones((len(rows), self._count))
        for part in self._nodes:
            found *= part(rows)
        return found


class _Branches:
    """A category with something below it: rows in different branches are equally far from each other."""

    def __init__(self, node: Node, weights: Array, categorical: Array, fixed: Array) -> None:
        self._own, self._count = node.own, len(fixed)
        self._rho = np.exp(-weights[node.own])
        places = _places(fixed[:, node.own])
        self._branches = {k: (there, _Within(node, weights, categorical, fixed[there])) for k, there in places.items()}

    def __call__(self, rows: Array) -> Array:
        found = np.full((len(rows), self._count), self._rho)
        for value, here in _places(rows[:, self._own]).items():
            if value in self._branches:
                there, within = self._branches[value]
                inner = within(rows[here])
                inner *= 1 - self._rho
                inner += self._rho
                found[here[:, None], there] = inner
        return found


def _below(node: Node, weights: Array, categorical: Array, fixed: Array) -> "_Within | _Branches":
    return (_Branches if node.branching else _Within)(node, weights, categorical, fixed)


def _places(column: Array) -> Mapping[float, Array]:
    """Returns for each value, -1 for NaN, where it is."""
    column = np.nan_to_num(column, nan=-1.0)
    return {float(value): np.flatnonzero(column == value) for value in set(column.tolist())}


class _Alike:
    """Which rows have the same positions on some axes.

    Args:
        rows: Shape (m, d).
    """

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        self._order = np.argsort(rows, axis=0, kind="stable")
        ordered = np.take_along_axis(rows, self._order, 0)
        self._fresh = np.ones(rows.shape, bool)
        self._fresh[1:] = ordered[1:] != ordered[:-1]
        self._which = np.empty(rows.shape, np.intp)
        np.put_along_axis(self._which, self._order, np.cumsum(self._fresh, axis=0) - 1, 0)

    def on(self, axes: Sequence[int]) -> tuple[Array, Array]:
        """Returns indices of rows, no two alike on `axes`, and for each row the place there of one like it."""
        if len(axes) == 1:
            axis = axes[0]
            return self._order[self._fresh[:, axis], axis], self._which[:, axis]
        own = np.ascontiguousarray(self._rows[:, axes])
        keys = own.view(np.dtype((np.void, own.itemsize * len(axes))))[:, 0]
        _, where, which = np.unique(keys, return_index=True, return_inverse=True)
        return where, which
