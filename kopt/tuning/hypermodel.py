"""From a model and a space to what KerasTuner searches: a HyperModel that builds, compiles and fits each trial."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from kopt._core import checks
from kopt._core.compiled import own_copies
from kopt._core.configured import unknown_argument
from kopt.losses.plain_loss import with_plain_loss
from kopt.optimizers import AdamW, ComposedOptimizer, no_decay_groups
from kopt.tuning.conditions import described
from kopt.tuning.fitting import Fatal, bound, check_batch_size, with_needed
from kopt.tuning.guarded import GuardedHyperParameters
from kopt.tuning.rebuild import rebuilt
from kopt.tuning.space import SearchSpace, Settings
from kopt.tuning.space.smoothing import smoothed, unsmoothed
from kopt.tuning.wanted import Wanted

# With these in the space, the loss of one trial is not that of another.
_INCOMPARABLE = ("l1", "l2", "label_smoothing")


def make_hypermodel(
    build: keras.Model | keras_tuner.HyperModel | Callable[..., keras.Model],
    space: SearchSpace | None = None,
    *,
    loss: Any = None,
    metrics: Any = None,
    epochs: int | None = None,
    run_epochs: int | None = None,
    keep_weights: bool = False,
    no_decay: bool = True,
    compile_arguments: Mapping[str, Any] | None = None,
) -> keras_tuner.HyperModel:
    """Returns a hypermodel for any tuner of KerasTuner: each trial is a model with settings from the space.

    `SpaceHyperModel` says what a trial is made of. "docs/search-space.md" has examples.

    Args:
        build: A model; a function that returns one, of `hp` or of nothing; or a `HyperModel`, whose `build` is used.
        space: What to search; `SearchSpace.default()` for None.
        loss: As for `compile`; with `label_smoothing` in the space a loss that has it, or a function
            `label_smoothing -> loss`. That of the model, if it is compiled, for None.
        metrics: As for `compile`. Those of the model, if it is compiled, for None.
        epochs: Of each trial where neither the space nor the tuner says how many, >= 1; 1 for None, as in `fit`.
        run_epochs: Of the whole run, as schedules in fractions see it, where a tuner trains a part of it at a time,
            >= 1; None for the `epochs` that `fit` is given.
        keep_weights: Whether trials begin with the weights of the model that is given. Those of a function are kept.
        no_decay: Whether weight decay leaves biases, norms and embeddings alone, as by `no_decay_groups`.
        compile_arguments: Further arguments of `compile`, such as `{"jit_compile": True}`.

    Returns:
        A `keras_tuner.HyperModel`.

    Raises:
        ValueError: An argument is out of its range; or (when a tuner is made) `build` returns no model, the model
            cannot be made anew, or has no place for what the space has.
        TypeError: `compile` has no such argument.
    """
    options = {"loss": loss, "metrics": metrics, "keep_weights": keep_weights, "no_decay": no_decay}
    lengths = {"epochs": epochs, "run_epochs": run_epochs}
    return SpaceHyperModel(build, space, **options, **lengths, compile_arguments=compile_arguments)


class SpaceHyperModel(keras_tuner.HyperModel):
    """What `make_hypermodel` returns.

    A model that is given is made anew in each trial, with fresh weights and with its regularizers and dropout rates
    replaced by those of the space; its frozen layers keep their weights. The same is done to what a function builds,
    unless its layers have the trial's numbers already. A function may ask its `hp` for more (units, depth, ...), and
    read what the space has, as in `hp.get("dropout")`.

    `fit` tells schedules the length of the run, and puts averaged weights into the model for validation where the
    optimizer has them. The tuner's and your own callbacks come behind.

    Losses that contain a penalty or smoothed labels are not comparable between trials. Where the space has such, the
    metric `plain_loss` is added, the loss without them: search for "val_plain_loss", or for another metric.

    Attributes:
        space: The `SearchSpace`.
        returns_history: That epochs' logs hold the objective.
    """

    returns_history = True

    def __init__(self, source: Any, space: SearchSpace | None, **options: Any) -> None:
        super().__init__()
        self.space = SearchSpace.default() if space is None else space
        if not isinstance(self.space, SearchSpace):
            raise checks.fail("space", "a kopt.tuning.SearchSpace", space)
        self._source = _checked_build(source)
        for name in ("epochs", "run_epochs"):
            checks.optional(checks.count, name, options[name])
        for name in ("keep_weights", "no_decay"):
            checks.flag(name, options[name])
        if "label_smoothing" in self.space.ranges and options["loss"] is not None:
            smoothed(options["loss"], 0.0)  # A loss that cannot is to be known now.
        self._options = options | {"compile_arguments": _checked_compile(options["compile_arguments"])}

    @property
    def conditions(self) -> dict[str, Any]:
        """What each trial trains with beside the space, by name: a search that goes on has to have the same."""
        options = self._options
        own = {name: options[name] for name in ("run_epochs", "keep_weights", "no_decay")}
        return own | {"epochs": options["epochs"] or 1, "loss": described(options["loss"])}

    def build(self, hp: Any) -> keras.Model:
        """Returns the compiled model of a trial.

        Args:
            hp: A `keras_tuner.HyperParameters`.
        """
        settings = self.space.declare(hp)
        given = self._given(hp, settings)
        if not any(type(entry).__name__ != "Fixed" for entry in hp.space):
            raise Fatal(
                "The search must have something to search. Received: a space without ranges, and a build function "
                "that asks its `hp` for nothing."
            )
        wanted = Wanted.of(settings.values, given)
        is_built_here = given is not self._source
        if is_built_here and wanted.is_met_by(given):
            model = given
        else:
            model = rebuilt(given, wanted, keep_weights=is_built_here or self._options["keep_weights"])
        model.compile(**self._compile_arguments(given, model, settings))
        if model.built:
            # With its state there, KerasTuner's files restore it: a trial that is promoted goes on where it was.
            model.optimizer.build(model.trainable_variables)
        return model

    def fit(self, hp: Any, model: keras.Model, *args: Any, **keywords: Any) -> Any:
        """Trains the model of a trial.

        Args:
            hp: The hyperparameters that it was built with.
            model: What `build` returned.
            *args: Of `keras.Model.fit`.
            **keywords: Of `keras.Model.fit`.

        Returns:
            What `keras.Model.fit` returns.
        """
        arguments = bound(args, keywords)
        check_batch_size(arguments, self.space.largest("batch_size"))
        values = self.space.declare(hp).values
        if values.get("batch_size") is not None:
            arguments["batch_size"] = values["batch_size"]
        if "epochs" not in self.space.ranges:
            arguments.setdefault("epochs", self._options["epochs"] or 1)
        elif arguments.setdefault("epochs", values["epochs"]) != values["epochs"]:
            raise Fatal(
                "`epochs` must be in the space or an argument of the search, not both. Received: "
                f"epochs={arguments['epochs']!r} and one in the space. Hyperband says itself how many epochs."
            )
        arguments["callbacks"] = with_needed(arguments.get("callbacks"), model, self._options["run_epochs"])
        return model.fit(**arguments)

    def _given(self, hp: Any, settings: Settings) -> keras.Model:
        if isinstance(self._source, keras.Model):
            return self._source
        function = self._source.build if isinstance(self._source, keras_tuner.HyperModel) else self._source
        guarded = GuardedHyperParameters(hp, self.space.names, settings.values)
        model = function(guarded) if _takes_hp(function) else function()
        if not isinstance(model, keras.Model):
            advice = "It has to end with `return model`." if model is None else ""
            raise Fatal(str(checks.fail("build", "a function that returns a keras.Model", model, advice)))
        if getattr(model, "is_of_a_trial", False):
            advice = "A trial would go on with the weights of the last one: give the model itself, not a function."
            raise Fatal(str(checks.fail("build", "a function that returns a new model each time", model, advice)))
        model.is_of_a_trial = True
        return model

    def _compile_arguments(self, given: keras.Model, model: keras.Model, settings: Settings) -> dict[str, Any]:
        loss, metrics = self._options["loss"], self._options["metrics"]
        if loss is None:
            loss = given.loss if given.compiled else None
        if loss is None:
            raise Fatal(str(checks.fail("loss", "given, or the model compiled with one", None)))
        amount = settings.values.get("label_smoothing")
        if metrics is None and given.compiled:
            metrics = given.get_compile_config()["metrics"]
        metrics = own_copies(metrics)
        if any(name in self.space.ranges for name in _INCOMPARABLE):
            metrics = with_plain_loss(metrics, unsmoothed(loss) if amount is None else smoothed(loss, 0.0))
        found = {
            "optimizer": self._optimizer(given, model, settings),
            "loss": unsmoothed(loss) if amount is None else smoothed(loss, amount),
            "metrics": metrics,
        }
        return found | self._options["compile_arguments"]

    def _optimizer(self, given: keras.Model, model: keras.Model, settings: Settings) -> keras.optimizers.Optimizer:
        chosen = settings.optimizer
        if chosen is None:
            is_own = given.compiled and given.optimizer is not None
            return type(given.optimizer).from_config(given.optimizer.get_config()) if is_own else AdamW()
        made = settings.make_optimizer()
        is_ours = isinstance(made, ComposedOptimizer) and "groups" not in chosen.ranges and made.weight_decay
        if self._options["no_decay"] and is_ours and model.built and model.trainable_variables:
            return settings.make_optimizer(groups=no_decay_groups(model))
        return made


def _checked_build(build: Any) -> Any:
    rule = "a keras.Model, a function that returns one, or a keras_tuner.HyperModel"
    if isinstance(build, keras.Model | keras_tuner.HyperModel):
        return build
    if isinstance(build, type) or not callable(build):
        raise checks.fail("build", rule, build)
    needed = _needed(build)
    if len(needed) > 1:
        raise checks.fail("build", "a function of `hp` or of nothing", build, f"It needs {', '.join(needed)}.")
    return build


def _takes_hp(function: Callable[..., Any]) -> bool:
    return bool(_needed(function)) or "hp" in inspect.signature(function).parameters


def _needed(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]


def _checked_compile(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    taken = [name for name in inspect.signature(keras.Model.compile).parameters if name != "self"]
    for name in arguments or {}:
        if name not in taken:
            raise unknown_argument("compile", name, taken)
        if name in ("optimizer", "loss", "metrics"):
            raise checks.fail("compile_arguments", f"without {name!r}, which has its own place", arguments)
    return dict(arguments or {})
