"""A recipe of regularization: its parts, where each of them comes from, and what makes them for a model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import keras

from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt._core.tables import aligned
from kopt.layers import MixUpCutMix
from kopt.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from kopt.optimizers import AdamW, Composed, ComposedOptimizer, no_decay_groups
from kopt.schedules import CosineDecay, Warmup
from kopt.transforms import AddDecayedWeights, ExponentialMovingAverage, Momentum, ScaleByLearningRate

OURS = "ours"


@dataclass(frozen=True)
class Recipe:
    """A set of regularizing parts that somebody has published together: `print` it to see them with their sources.

    Args:
        name: What it is called in `RECIPES`.
        purpose: What it is for, in a sentence.
        optimizer: "adamw", or "sgd" with Nesterov's momentum and decay in the gradient, as torch has it.
        learning_rate: The highest rate, > 0, at the batch size below.
        batch_size: Of the paper: the rate grows in proportion to the batch; None if it stays.
        momentum: Of SGD, or the first beta of AdamW.
        beta_2: Of AdamW.
        weight_decay: Of matrices only, by `no_decay_groups`.
        warmup: Share of the run in which the rate rises in a straight line, in [0, 1).
        final_rate: What a cosine ends at, as a share of the highest rate, in [0, 1).
        global_clipnorm: Clips the norm of all gradients together, or None.
        dropout: Its rate, 0.0 for none at all, or None to leave the model's.
        drop_path: Rate of the last residual branch, or None to leave the model's.
        max_norm: The largest norm of a unit's incoming weights, or None.
        label_smoothing: Of the loss, which `loss` makes, or None.
        mixup: Of the Beta distribution, for `augmentation`, or None.
        cutmix: Likewise, or None for mixup alone.
        ema: Decay rate of the average of the weights that is evaluated with, or None.
        patience: Share of the epochs after which a run without progress in "val_loss" ends, or None.
        sources: Where each part comes from, by its name.
        also: What the sources do that has to be done in the data, in a sentence.
    """

    name: str
    purpose: str
    optimizer: str
    learning_rate: float
    batch_size: int | None
    momentum: float
    weight_decay: float
    warmup: float
    final_rate: float
    sources: Mapping[str, str]
    beta_2: float | None = None
    global_clipnorm: float | None = None
    dropout: float | None = None
    drop_path: float | None = None
    max_norm: float | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    ema: float | None = None
    patience: float | None = None
    also: str = ""

    def parts(self) -> dict[str, Any]:
        """Returns the parts that the recipe has, by name."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value
            for name, value in told.items()
            if value is not None and name not in ("name", "purpose", "sources", "also")
        }

    def replace(self, **changes: Any) -> Self:
        """Returns the recipe with other parts, such as `replace(drop_path=None)`; changed ones are marked as yours.

        Args:
            **changes: Parts by name.

        Raises:
            TypeError: The recipe has no such part.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise unknown_argument("Recipe", name, names)
        return dataclasses.replace(self, **{"sources": {**self.sources, **dict.fromkeys(changes, "yours")}} | changes)

    def loss(self, *, sparse: bool = True, from_logits: bool = True) -> keras.losses.Loss:
        """Returns the cross-entropy with the recipe's label smoothing.

        Args:
            sparse: Whether labels are integers; one-hot or mixed ones otherwise.
            from_logits: Whether the model gives logits.
        """
        kind = SparseCategoricalCrossentropy if checks.flag("sparse", sparse) else CategoricalCrossentropy
        made: keras.losses.Loss = kind(label_smoothing=self.label_smoothing or 0.0, from_logits=from_logits)
        return made

    def augmentation(self, num_classes: int | None = None, **options: Any) -> MixUpCutMix:
        """Returns the layer that mixes images and labels in the data pipeline.

        Args:
            num_classes: As in `MixUpCutMix`.
            **options: Likewise.

        Raises:
            ValueError: The recipe mixes nothing.
        """
        if self.mixup is None:
            raise ValueError(f"The recipe {self.name!r} mixes no images. Use `kopt.layers.MixUpCutMix` as you like.")
        cutting = {"switch": 0.0} if self.cutmix is None else {"cutmix": self.cutmix}
        return MixUpCutMix(self.mixup, **{**cutting, "num_classes": num_classes, **options})

    def rate(self, batch_size: int) -> float:
        """Returns the highest learning rate for a batch size.

        Args:
            batch_size: Of the run.
        """
        return self.learning_rate if self.batch_size is None else self.learning_rate * batch_size / self.batch_size

    def make_optimizer(self, model: keras.Model, rate: float) -> ComposedOptimizer:
        """Returns the optimizer for a model, under warm-up and cosine in fractions of the run.

        Args:
            model: A built model.
            rate: The highest learning rate.
        """
        schedule: Any = CosineDecay(rate, 1.0, self.final_rate, by="fraction")
        if self.warmup:
            schedule = Warmup(schedule, self.warmup, by="fraction")
        keywords: dict[str, Any] = {"weight_decay": self.weight_decay, "groups": no_decay_groups(model)}
        if self.global_clipnorm is not None:
            keywords["global_clipnorm"] = self.global_clipnorm
        if self.ema is not None:
            keywords["after"] = [ExponentialMovingAverage(self.ema)]
        if self.optimizer == "adamw":
            return AdamW(schedule, self.momentum, self.beta_2 or 0.999, **keywords)
        chain = [AddDecayedWeights(), Momentum(self.momentum, nesterov=True), ScaleByLearningRate()]
        return Composed(chain, schedule, **keywords)

    def make_callbacks(self, epochs: int) -> list[keras.callbacks.Callback]:
        """Returns the callbacks of a run: one that tells the schedules its length, and what the recipe needs.

        Args:
            epochs: Of the run.
        """
        # Here, because `import kopt` imports no callbacks.
        from kopt.callbacks import AveragedWeights, Report

        found: list[keras.callbacks.Callback] = [Report() if self.ema is None else AveragedWeights()]
        if self.patience is not None:
            patience = max(1, round(self.patience * epochs))
            found.append(keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True))
        return found

    def __str__(self) -> str:
        rows = [(name, f"{value}", self.sources.get(name, "")) for name, value in self.parts().items()]
        lines = [f"{self.name}: {self.purpose}", "", *aligned(("part", "value", "source"), rows)]
        return "\n".join([*lines, *(["", self.also] if self.also else [])])
