"""Draws `docs/chain.png`: what happens to a gradient on its way to the weights, and where `before` and `after` stand.

python docs/draw_chain.py
"""

from pathlib import Path

from matplotlib.figure import Figure

BOXES = [
    ("gradient", "summed over replicas,\naveraged over micro-batches", "#d9d9d9"),
    ("clipping\nkeyword", "clipnorm, clipvalue,\nglobal_clipnorm", "#c7dcf0"),
    ("before=[...]", "AdaptiveGradientClipping,\nCentralizeGradients,\nGrokfast, ZeroNonFinite", "#fde0b6"),
    ("the recipe", "ScaleByAdam, Momentum,\nor a group's transforms", "#cfe8cf"),
    ("after=[...],\ndirection", "Cautious, TrustRatio,\nClipByRms", "#fde0b6"),
    ("weight\ndecay", "AddDecayedWeights", "#c7dcf0"),
    ("learning\nrate", "schedule,\ngroup's factor", "#c7dcf0"),
    ("after=[...],\nstep", "Lookahead, Exponential-\nMovingAverage", "#fde0b6"),
    ("weights", "x <- x - u", "#d9d9d9"),
]


def main() -> None:
    """Writes the picture."""
    figure = Figure(figsize=(17, 2.2), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, examples, colour) in enumerate(BOXES):
        style = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "#555555"}
        axes.text(i, 0.62, name, ha="center", va="center", fontsize=10, bbox=style)
        axes.text(i, 0.14, examples, ha="center", va="center", fontsize=8.5, color="#333333")
        if i:
            arrow = {"arrowstyle": "->", "color": "#555555", "shrinkA": 50, "shrinkB": 50}
            axes.annotate("", xy=(i, 0.62), xytext=(i - 1, 0.62), arrowprops=arrow)
    axes.set(xlim=(-0.55, len(BOXES) - 0.45), ylim=(-0.15, 1))
    axes.axis("off")
    figure.savefig(Path(__file__).with_name("chain.png"), dpi=110)


if __name__ == "__main__":
    main()
