"""Schedules in float64 NumPy, from their formulas: arrays of steps in, arrays of rates out."""

from collections.abc import Callable, Sequence

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]


def polynomial(t: np.ndarray, rate: float, steps: float, end: float, power: float, cycle: bool = False) -> np.ndarray:
    periods = np.maximum(np.ceil(t / steps), 1) if cycle else 1
    return end + (rate - end) * (1 - np.minimum(t / (steps * periods), 1)) ** power


def transformer(t: np.ndarray, width: int, warmup: int) -> np.ndarray:
    """Vaswani et al. 2017, equation 3."""
    return width**-0.5 * np.minimum((t + 1) ** -0.5, (t + 1) * warmup**-1.5)


def rex(t: np.ndarray, rate: float, steps: float, alpha: float) -> np.ndarray:
    z = np.maximum(steps - t, 0)
    return rate * (alpha + (1 - alpha) * 2 * z / (steps + z))


def joined(t: np.ndarray, curves: Sequence[Curve], boundaries: Sequence[int]) -> np.ndarray:
    """Looks up for each step whose turn it is, and asks that curve for the steps since its turn began."""
    turns = np.searchsorted(boundaries, t, side="right")
    starts = np.take([0, *boundaries], turns)
    return np.concatenate([curves[k](step[None]) for k, step in zip(turns, t - starts, strict=True)])


def stairs(t: np.ndarray, rate: float, boundaries: Sequence[int], factor: float) -> np.ndarray:
    return rate * factor ** np.searchsorted(boundaries, t, side="right").astype("float64")


def trapezoid(
    t: np.ndarray, rate: float, phases: tuple[float, float, float], alpha: float, fall: Curve = lambda p: 1 - p
) -> np.ndarray:
    """`fall` maps the share of the decay that is done to the share of the rate that is left."""
    warmup, stable, decay = phases
    done = np.clip((t - warmup - stable) / decay, 0, 1)
    rise = np.minimum(t + 1, warmup) / warmup if warmup else 1
    return rate * rise * (alpha + (1 - alpha) * fall(done))


def one_cycle(
    t: np.ndarray, rates: Sequence[float], ends: Sequence[float], ease: Curve = lambda s: (1 - np.cos(np.pi * s)) / 2
) -> np.ndarray:
    """Goes through `rates`, the first at step 0, the others at the steps `ends`, along `ease` from 0 to 1."""
    way = np.interp(t, [0, *ends], range(len(rates)))
    phase = np.minimum(way.astype(int), len(rates) - 2)
    first, last = np.take(rates, phase), np.take(rates, phase + 1)
    return first + (last - first) * ease(way - phase)


def triangles(
    t: np.ndarray, low: float, high: float, up: float, down: float, size: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """`size` gets the step and the number of the cycle."""
    place = np.interp(t % (up + down), [0, up, up + down], [0, 1, 0])
    return low + (high - low) * place * size(t, t // (up + down))


def restarts(t: np.ndarray, rate: float, first: float, growth: float, fade: float, alpha: float) -> np.ndarray:
    """Loshchilov and Hutter 2016, equation 5, walking from restart to restart."""

    def one(step: float) -> float:
        length, height = first, 1.0
        while step >= length:
            step, length, height = step - length, length * growth, height * fade
        return rate * (alpha + (1 - alpha) * height * (1 + np.cos(np.pi * step / length)) / 2)

    return np.array([one(step) for step in t])
