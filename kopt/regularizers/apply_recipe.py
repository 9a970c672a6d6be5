"""A recipe put to work on a model: the model made anew, the optimizer, the callbacks, and a table of what was done."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.compiled import compile_like
from kopt._core.layer_kinds import INNER_RATES, is_drop_path, is_dropout, is_on
from kopt._core.rebuild import counterparts
from kopt.optimizers import ComposedOptimizer
from kopt.regularizers.places import Which
from kopt.regularizers.recipe import Recipe
from kopt.regularizers.recipes import RECIPES
from kopt.regularizers.regularize import check_built, copied, regularize
from kopt.schedules import resolve


class AppliedRecipe(NamedTuple):
    """What `apply_recipe` returns.

    Attributes:
        model: The new model.
        optimizer: To compile it with.
        callbacks: For `fit`.
    """

    model: keras.Model
    optimizer: ComposedOptimizer
    callbacks: list[keras.callbacks.Callback]


def apply_recipe(
    model: keras.Model,
    name: str | Recipe,
    *,
    epochs: int,
    steps_per_epoch: int | None = None,
    batch_size: int = 32,
    learning_rate: float | None = None,
    include: Which | Sequence[Which] | None = None,
    exclude: Which | Sequence[Which] = (),
    verbose: bool = True,
) -> AppliedRecipe:
    """Makes a model anew as a recipe has it, with the optimizer and callbacks that go with it; prints what it did.

    What belongs to the loss or the data is said: `RECIPES[name].loss()`, `RECIPES[name].augmentation(num_classes)`.

    Args:
        model: A built model, as `regularize` takes it. A compiled one comes back compiled with the recipe's optimizer,
            and with its own loss and metrics: without label smoothing, then.
        name: One of `RECIPES`, or a `Recipe`, as from `RECIPES["deit"].replace(drop_path=0.2)`.
        epochs: Of the run, >= 1.
        steps_per_epoch: Batches in an epoch, >= 1. None lets the callbacks tell the schedules, when `fit` begins.
        batch_size: Of `fit`, >= 1: the recipe's learning rate is for another one.
        learning_rate: The highest, > 0, in place of the recipe's.
        include: Which layers get dropout, drop paths and constraints, as in `regularize`.
        exclude: Which do not.
        verbose: Whether to print the table.

    Returns:
        The new model, the optimizer and the callbacks, as an `AppliedRecipe`.

    Raises:
        ValueError: An argument is out of its range, there is no such recipe, or the model has no place for its parts.

    Example:

    ```python
    model, optimizer, callbacks = kopt.regularizers.apply_recipe(model, "convnext", epochs=100, batch_size=128)
    model.compile(optimizer, kopt.regularizers.RECIPES["convnext"].loss(), metrics=["accuracy"])
    ```
    """
    recipe = name if isinstance(name, Recipe) else RECIPES[checks.choice("name", name, RECIPES)]
    applied = _applied(recipe, model, (epochs, steps_per_epoch, batch_size), learning_rate, (include, exclude))
    if checks.flag("verbose", verbose):
        _show(recipe, applied)
    return applied


def _applied(
    recipe: Recipe, model: keras.Model, run: tuple[Any, ...], rate: Any, which: tuple[Any, Any]
) -> AppliedRecipe:
    epochs, steps_per_epoch, batch_size = run
    checks.count("epochs", epochs)
    own = recipe.rate(checks.count("batch_size", batch_size))
    check_built(model)
    wanted = _for_model(recipe, model)
    try:
        new = regularize(model, **wanted, include=which[0], exclude=which[1]) if wanted else copied(model)
    except ValueError as error:
        changed = ", ".join(f"{part}=None" for part in ("dropout", "drop_path", "max_norm") if recipe.parts().get(part))
        advice = f"`RECIPES[{recipe.name!r}].replace({changed})` is the recipe without what it puts into the model."
        raise ValueError(f"{error} {advice}") from error
    optimizer = recipe.make_optimizer(new, own if rate is None else checks.positive("learning_rate", rate))
    if steps_per_epoch is not None:
        resolve(optimizer, epochs, steps_per_epoch)
    compile_like(new, model, counterparts(model, new) or [], optimizer)
    return AppliedRecipe(new, optimizer, recipe.make_callbacks(epochs))


def _for_model(recipe: Recipe, model: keras.Model) -> dict[str, Any]:
    """Returns what `regularize` has to do."""
    wanted: dict[str, Any] = {}
    if recipe.dropout or (recipe.dropout is not None and _drops(model)):
        wanted["dropout"] = recipe.dropout
    if recipe.drop_path is not None:
        wanted["drop_path"] = recipe.drop_path
    if recipe.max_norm is not None:
        wanted["constraint"] = keras.constraints.MaxNorm(recipe.max_norm)
    return wanted


def _drops(model: keras.Model) -> bool:
    layers = watch.flat_layers(model)
    inside = any(is_on(getattr(layer, key, None)) for layer in layers for key in INNER_RATES)
    return inside or any(is_dropout(type(layer).__name__) for layer in layers)


def _show(recipe: Recipe, applied: AppliedRecipe) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    model, optimizer = applied.model, applied.optimizer
    done = {
        "optimizer": f"{type(optimizer).__name__} under {'warm-up and ' if recipe.warmup else ''}cosine decay",
        "learning_rate": f"{_highest(optimizer):.3g} at most",
        "batch_size": "the rate is in proportion to it",
        "weight_decay": f"{recipe.weight_decay:g} on matrices, 0 on the rest",
        "warmup": f"{recipe.warmup:.1%} of the run" if recipe.warmup else "none",
        "final_rate": f"{recipe.final_rate:g} of the highest rate at the end",
        "dropout": f"{recipe.dropout} in {_count(model, is_dropout)} layers",
        "drop_path": f"from 0 to {recipe.drop_path} with depth, in {_count(model, is_drop_path)} layers",
        "label_smoothing": f"{recipe.label_smoothing}: compile with RECIPES[{recipe.name!r}].loss()",
        "mixup": f"{recipe.mixup}: RECIPES[{recipe.name!r}].augmentation(num_classes) in the data",
        "ema": f"{recipe.ema}: evaluates with the average, by AveragedWeights",
        "patience": f"{recipe.patience:.0%} of the epochs, on val_loss" if recipe.patience else "",
    }
    table = Table("part", title=f"{recipe.name}: {recipe.purpose}", title_justify="left")
    for column in ("what was done", "source"):
        table.add_column(column, overflow="fold")
    for part, value in recipe.parts().items():
        source = re.sub(r",? https?://[^\s;:,]+", "", recipe.sources.get(part, ""))
        table.add_row(*map(Text, (part, done.get(part, f"{value}"), source)))
    console = Console()  # The global one has the width of when it was made.
    console.print(table)
    notes = [recipe.also, "The model is compiled, with the loss that it had." if model.compiled else ""]
    if recipe.ema is not None and _count(model, lambda kind: kind == "BatchNormalization"):
        notes.append(
            "Give AveragedWeights the training inputs, batch_norm_data=x: the average needs statistics of its own."
        )
    for note in filter(None, notes):
        console.print(Text(note))


def _count(model: keras.Model, is_one: Any) -> int:
    return sum(is_one(type(layer).__name__) for layer in watch.flat_layers(model))


def _highest(optimizer: ComposedOptimizer) -> float:
    """Returns the rate that the cosine starts from."""
    schedule: Any = optimizer.arguments["learning_rate"]
    return float(getattr(schedule, "schedule", schedule).initial_learning_rate)
