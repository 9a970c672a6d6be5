"""Draws the gallery of schedules: `python docs/draw_schedules.py` rewrites `docs/schedules.png`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kopt import schedules as s

STEPS = 200
COLUMNS = 4
PANELS = {
    "Constant": {"": s.Constant(1.0)},
    "StepDecay": {"": s.StepDecay(1.0, 50, 0.5)},
    "MultiStep": {"": s.MultiStep(1.0, [100, 150], 0.3)},
    "ExponentialDecay": {
        "": s.ExponentialDecay(1.0, 0.3, 50),
        "staircase": s.ExponentialDecay(1, 0.3, 50, staircase=True),
    },
    "Linear": {"": s.Linear(1.0, 200)},
    "Polynomial": {
        "power=2": s.Polynomial(1.0, 200, power=2.0),
        "cycle": s.Polynomial(1.0, 50, power=2.0, cycle=True),
    },
    "InverseTime": {"": s.InverseTime(1.0, 1.0, 20)},
    "InverseSqrt": {"": s.InverseSqrt(1.0, 20), "in Warmup": s.Warmup(s.InverseSqrt(1.0, 20), 20)},
    "CosineDecay": {"": s.CosineDecay(1.0, 200), "in Warmup": s.Warmup(s.CosineDecay(1.0, 200), 20)},
    "CosineRestarts": {"t_mul=2": s.CosineRestarts(1.0, 29), "m_mul=0.6": s.CosineRestarts(1.0, 50, 1.0, 0.6)},
    "REX": {"": s.REX(1.0, 200)},
    "WarmupStableDecay": {
        shape: s.WarmupStableDecay(1.0, 20, 100, 80, shape=shape) for shape in ("linear", "cosine", "sqrt")
    },
    "OneCycle": {
        "": s.OneCycle(1.0, 200),
        "linear, three_phase": s.OneCycle(1.0, 200, 0.4, "linear", three_phase=True),
    },
    "Cyclic": {
        "triangular2": s.Cyclic(0.1, 1.0, 25, mode="triangular2"),
        "exp_range": s.Cyclic(0.1, 1.0, 25, mode="exp_range", decay_rate=0.995),
    },
    "Join": {"": s.Join([s.Linear(0.0, 40, 1.0), s.StepDecay(1.0, 40, 0.5)], [40])},
    "AdamStepSize": {"": s.AdamStepSize(1.0)},
}


def panels(figure: Figure) -> Iterator[tuple[str, object]]:
    """Yields each name with the axes to draw it on."""
    axes = figure.subplots(-(-len(PANELS) // COLUMNS), COLUMNS, sharex=True, sharey=True)
    yield from zip(PANELS, np.ravel(axes), strict=True)


def main() -> None:
    """Draws all panels and saves the picture beside this script."""
    figure = Figure(figsize=(11, 9), layout="constrained", dpi=90)
    for name, axes in panels(figure):
        for label, schedule in PANELS[name].items():
            axes.plot(s.preview(schedule, STEPS), label=label, linewidth=1.5)
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
        if len(PANELS[name]) > 1:
            axes.legend(fontsize=7, loc="best")
    figure.supxlabel("optimizer step")
    figure.supylabel("learning rate")
    figure.savefig(Path(__file__).with_name("schedules.png"))


if __name__ == "__main__":
    main()
