"""The driver: a Keras optimizer that runs chains of transforms and writes what they compute."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
from keras import ops

from kopt._backend import Adapter
from kopt._core import checks
from kopt._core.configured import Configured, Hyperparameter, deserialized, serialized
from kopt._core.match import serialized_match
from kopt.optimizers import reporting
from kopt.optimizers.assignment import Assignment
from kopt.optimizers.averaging import Replaced, exchange, keras_average, restore, warn_of_two_averages
from kopt.optimizers.description import Description, describe
from kopt.optimizers.group import Group
from kopt.optimizers.guarding import stop_if_stuck
from kopt.optimizers.keywords import Keywords, LearningRate, checked_rate, clipping
from kopt.optimizers.partition import Partition
from kopt.optimizers.plan import Plan, compute_dtype
from kopt.transforms import Transform


class ComposedOptimizer(Configured, Adapter):
    """A chain of transforms as a Keras optimizer; every named optimizer is one, with its recipe in its constructor.

    The chain of a variable is: clipping keyword, `before`, the recipe (or the transforms of the variable's group),
    `after`, weight decay, learning rate. What comes out is subtracted from the variable. State and arithmetic are
    float32 (float64 for float64 variables), whatever the dtype of the variable.

    Args:
        recipe: The transforms, in order. Weight decay and learning rate are added at the end unless they are in it. A
            `Partition` holds two recipes and the rule that says which variable gets which.
        learning_rate: A number >= 0, a schedule, or a callable without arguments. Schedules count optimizer steps, also
            under gradient accumulation (Keras shows them the micro-batches).
        weight_decay: Decoupled: each step takes `learning_rate * weight_decay` of each weight away. A number or a
            schedule; None for none.
        groups: `Group`s with a learning rate, weight decay or chain of their own; the first match wins.
        before: Transforms of the gradient, in front of the recipe.
        after: Transforms behind the recipe: those that act on the direction stand before weight decay and learning
            rate, those that act on the step behind them.
        clipnorm: Largest norm of the gradient of each variable.
        clipvalue: Largest absolute value of each element of a gradient.
        global_clipnorm: Largest norm of all gradients together, over all groups, after reduction over replicas (Keras
            clips on each replica before it).
        use_ema: Whether to keep an exponential moving average of the weights, which replaces them when `fit` ends.
        ema_momentum: Decay rate of that average, in [0, 1].
        ema_overwrite_frequency: Every how many optimizer steps the average replaces the weights; None for never
            before the end.
        loss_scale_factor: The loss is multiplied by it, and the gradients divided by it.
        gradient_accumulation_steps: Over how many batches gradients are averaged before each optimizer step, >= 2.
            Average and schedules advance at optimizer steps only (Keras averages weights at each micro-batch).
        name: Of the optimizer's variables.

    Raises:
        ValueError: An argument is out of its range, or (at build) a group matches no variable.
        TypeError: An unknown argument.
    """

    keyword_names = tuple(Keywords.__annotations__)
    _assignment: Assignment
    _plan: Plan

    def __init__(
        self,
        recipe: Sequence[Transform] | Partition,
        learning_rate: LearningRate = 1e-3,
        *,
        weight_decay: Hyperparameter | None = None,
        groups: Sequence[Group] | None = None,
        before: Sequence[Transform] | None = None,
        after: Sequence[Transform] | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        clip = clipping(clipnorm, clipvalue, global_clipnorm)
        assignment = Assignment(
            recipe=recipe if isinstance(recipe, Partition) else checks.instances("transforms", recipe, Transform),
            groups=checks.instances("groups", groups or (), Group),
            before=checks.instances("before", before or (), Transform),
            after=checks.instances("after", after or (), Transform),
            clip=clip,
            weight_decay=checks.optional(checks.decay, "weight_decay", weight_decay),
        )
        if ema_overwrite_frequency is not None:
            checks.count("ema_overwrite_frequency", ema_overwrite_frequency)
            if not use_ema:
                raise checks.fail("ema_overwrite_frequency", "None unless `use_ema=True`", ema_overwrite_frequency)
        if gradient_accumulation_steps is not None:
            checks.count("gradient_accumulation_steps", gradient_accumulation_steps, least=2)
        super().__init__(
            learning_rate=checked_rate(learning_rate),
            name=name or type(self).__name__.lower(),
            weight_decay=assignment.weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=checks.flag("use_ema", use_ema),
            ema_momentum=checks.fraction("ema_momentum", ema_momentum, one=True),
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=checks.optional(checks.positive, "loss_scale_factor", loss_scale_factor),
            gradient_accumulation_steps=gradient_accumulation_steps,
        )
        # Keras tracks what is set as an attribute and would adopt the model's variables as optimizer state.
        self.__dict__["_assignment"] = assignment

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, in the order in which they are tried."""
        return self._assignment.groups

    @property
    def group_factors(self) -> dict[str, float]:
        """The factor on the learning rate of each group that is trained, by the group's name."""
        return {group.name: group.learning_rate for group in self.groups if not group.frozen}

    @property
    def hyperparameter_schedules(self) -> dict[str, Any]:
        """The schedules of weight decay, momentum and the like, but not of the learning rate, by name."""
        return self._assignment.schedules()

    @property
    def slot_variables(self) -> list[Any]:
        """The state of the transforms: one variable per tensor, in the order that `pure_step` takes and returns."""
        if not self.built:
            raise ValueError(
                "`slot_variables` needs the optimizer to be built. Call `optimizer.build(variables)` first."
            )
        return list(self.__dict__["_slots"])

    def describe(self, model: Any) -> Description:
        """Returns a table of what happens to each variable: group, rate, decay, transforms, bytes of state.

        Args:
            model: A built model, or a list of variables. The optimizer itself need not be built, and is not.

        Returns:
            A `Description`: `print` it, or read its `rows`.

        Raises:
            ValueError: A group matches no variable, or the model has no trainable variables yet.
        """
        variables = list(getattr(model, "trainable_variables", model))
        if not variables:
            raise checks.fail("model", "a built model with trainable variables", model, "Call it on one batch first.")
        assignment = copy.copy(self._assignment)
        assignment.resolve(variables)
        return describe(assignment, variables, float(ops.convert_to_numpy(self.learning_rate)), self.iterations)

    @property
    def estimates(self) -> dict[str, Any]:
        """What the optimizer has estimated by itself, by name, as 0-d tensors; empty for those that estimate nothing.

        Prodigy's distance is one. The TensorBoard callback logs each as `estimates/<name>`.
        """
        return reporting.estimates(self._plan, self.slot_variables) if self.built else {}

    @property
    def listens_to(self) -> set[str]:
        """Names of the metrics that `report` needs."""
        return {transform.monitor for transform in self._assignment.transforms() if transform.monitor}

    def report(self, metrics: Mapping[str, float]) -> None:
        """Tells the optimizer what an epoch gave, for transforms such as `ReduceOnPlateau`; kopt's callbacks do it.

        Args:
            metrics: Values by name; those that nobody waits for are ignored.

        Raises:
            ValueError: A metric that a transform waits for is missing, or the optimizer is not built yet.
        """
        if not self.built:
            raise ValueError("`report` needs the optimizer to be built. Call `optimizer.build(variables)` first.")
        self.write(reporting.told(self._plan, self.slot_variables, metrics))

    @property
    def averages(self) -> bool:
        """Whether the optimizer evaluates with other weights than it trains, as the schedule-free ones do."""
        return any(transform.averages for transform in self._assignment.transforms())

    def to_average(self) -> Replaced | None:
        """Puts the weights to evaluate with into the model, if there are any and they are not there yet.

        `fit` does so when it ends. The next step finds the way back by itself, and `from_average` does it before.

        Returns:
            What `from_average` needs to go back without rounding.
        """
        if not self.is_exchangeable:
            return None
        return exchange(self._plan, self._trainable_variables, self.slot_variables, to_average=True)

    def from_average(self, replaced: Replaced | None = None) -> None:
        """Puts the weights to train with back into the model, after `to_average`.

        Args:
            replaced: What `to_average` returned; without it, the weights are computed, to within rounding.
        """
        if not self.is_exchangeable:
            return
        if replaced is None:
            exchange(self._plan, self._trainable_variables, self.slot_variables, to_average=False)
        else:
            restore(self._plan, self._trainable_variables, self.slot_variables, replaced)

    @property
    def is_exchangeable(self) -> bool:
        """Whether there are averages, and a step has been taken: state that copies weights starts there."""
        return self.built and bool(self._plan.averaging) and int(ops.convert_to_numpy(self.iterations)) > 0

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leaves the weights to evaluate with in the model; Keras calls it when `fit` ends."""
        super().finalize_variable_values(var_list)
        if not self.use_ema:  # Keras has just put its own average there.
            self.to_average()
        self.look_back()
        if self.built:
            reporting.warn_if_untold(self._plan, self.slot_variables)

    def look_back(self) -> None:
        """Raises `FloatingPointError` if steps are left out again and again: see `SkipNonFinite`."""
        if self.built and self._plan.guards:
            stop_if_stuck(self._plan, self._trainable_variables, self.slot_variables, self.iterations)

    def build(self, variables: Sequence[Any]) -> None:
        """Resolves the groups and creates the state for the trainable variables of a model."""
        if self.built:
            return
        variables = list(variables)
        self._assignment.resolve(variables)
        super().build(variables)
        trained = {
            i: chain
            for i, chain in self._assignment.chains().items()
            if not self._overwrite_variable_with_gradient(variables[i])
        }
        plan = Plan.of(trained, variables, self._assignment.factors(), self._assignment.decided())
        if self.use_ema and plan.averaging:
            warn_of_two_averages(self)
        self.__dict__["_plan"] = plan
        self.__dict__["_slots"] = [self._new_slot(plan, key, variables) for key in plan.layout]

    def _new_slot(self, plan: Plan, key: Any, variables: Sequence[Any]) -> Any:
        transform = type(plan.stages[key.stage].transform).__name__
        variable = variables[0 if key.variable is None else key.variable]
        shape = variable.shape if key.slot.shape is None else key.slot.shape
        start = 0.0 if key.slot.start == "variable" else key.slot.start
        owner = transform if key.variable is None else variable.path.replace("/", "_")
        dtype = compute_dtype(variable.dtype) if key.variable is not None else "float32"
        return self.add_slot(variable, f"{owner}_{key.slot.name}", tuple(shape), dtype, start)

    def pure_step(
        self,
        params: Sequence[Any],
        gradients: Sequence[Any],
        slots: Sequence[Any],
        step: Any,
        learning_rate: Any = None,
    ) -> tuple[list[Any], list[Any]]:
        """Computes one optimizer step without writing anything, on any backend, under `jit`, `vmap` or by hand.

        Accumulation, weight averaging and loss scaling are not part of it.

        Args:
            params: Values of the trainable variables, in the order of `build`.
            gradients: One per value, dense; None leaves the variable and its state as they are.
            slots: The state, in the order of `slot_variables`.
            step: Number of steps taken before this one: 0 at the first.
            learning_rate: A scalar; by default the optimizer's rate at `step`.

        Returns:
            The new values and the new state.
        """
        if not self.built:
            raise ValueError("`pure_step` needs the optimizer to be built. Call `optimizer.build(variables)` first.")
        if learning_rate is None:
            schedule = self._learning_rate
            is_schedule = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
            learning_rate = schedule(step) if is_schedule else self.learning_rate
        given = {i: gradient for i, gradient in enumerate(gradients) if gradient is not None}
        new, new_slots = self._plan.run(
            dict(enumerate(params)),
            given,
            slots,
            ops.cast(step, "float32") + 1.0,
            ops.cast(learning_rate, "float32"),
        )
        return [new.get(i, value) for i, value in enumerate(params)], new_slots

    def clipped_gradients(
        self, gradients: Sequence[Any], variables: Sequence[Any], values: Sequence[Any] | None = None
    ) -> list[Any]:
        """Returns dense gradients as they leave the clipping at the head of the chains, those of frozen ones left out.

        Args:
            gradients: One per variable.
            variables: Variables that the optimizer was built for.
            values: The values that the gradients were taken at; by default those that the variables have now.
        """
        indices = [self._get_variable_index(variable) for variable in variables]
        at = [ops.convert_to_tensor(v) for v in variables] if values is None else values
        given, params = (dict(zip(indices, tensors, strict=True)) for tensors in (gradients, at))
        return list(self._plan.clipped(given, params).values())

    def advance(self, indices: Sequence[int], gradients: Sequence[Any]) -> list[tuple[Any, Any]]:
        steps = self.gradient_accumulation_steps
        targets = self._targets(indices)
        if not steps:
            return list(zip(targets, self._full_step(indices, list(gradients)), strict=True))
        accumulators = [self._accumulated_gradients[i] for i in indices]
        sums = [ops.convert_to_tensor(a) + g for a, g in zip(accumulators, gradients, strict=True)]
        values = ops.cond(
            ops.equal((self._iterations + 1) % steps, 0),
            lambda: self._full_step(indices, [total / steps for total in sums]) + [ops.zeros_like(a) for a in sums],
            lambda: [ops.convert_to_tensor(target) for target in targets] + sums,
        )
        return list(zip([*targets, *accumulators], values, strict=True))

    def _targets(self, indices: Sequence[int]) -> list[Any]:
        targets = [self._trainable_variables[i] for i in indices] + self.slot_variables
        if self.use_ema:
            targets += self._moving_averages()
        return targets

    def _full_step(self, indices: Sequence[int], gradients: Sequence[Any]) -> list[Any]:
        """Returns the new values of `_targets(indices)`, in that order."""
        params: list[Any] = [ops.convert_to_tensor(variable) for variable in self._trainable_variables]
        given: list[Any] = [None] * len(params)
        for i, gradient in zip(indices, gradients, strict=True):
            given[i] = gradient
        slots = [ops.convert_to_tensor(slot) for slot in self.slot_variables]
        params, new_slots = self.pure_step(params, given, slots, self.iterations, self.learning_rate)
        averages: list[Any] = []
        if self.use_ema:
            averages = [ops.convert_to_tensor(average) for average in self._moving_averages()]
            params, averages = keras_average(self, params, averages, self._plan.left_out(slots, new_slots))
        return [params[i] for i in indices] + new_slots + averages

    def _moving_averages(self) -> list[Any]:
        return [average for average in self._model_variables_moving_average if average is not None]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Refuses: Keras' step of one variable is not how these optimizers work."""
        raise RuntimeError(
            f"{type(self).__name__} updates all variables together. Call `apply(gradients, variables)` instead of "
            "`update_step`."
        )

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Excludes variables from weight decay, before the optimizer is built; saved with the model.

        Args:
            var_list: Variables to exclude.
            var_names: Regular expressions searched in the variables' paths (Keras searches names only, so that a
                layer's name never matches there).
        """
        if self.built:
            raise ValueError("`exclude_from_weight_decay` must be called before the optimizer is built.")
        self._assignment.exclude_from_decay(var_list or (), var_names or ())

    def get_config(self) -> dict[str, Any]:
        base, assignment = super(Configured, self).get_config(), self._assignment
        own = {
            name: serialized_match(value) if inspect.isroutine(value) else serialized(value)
            for name, value in self.arguments.items()
            if name not in self.keyword_names and name not in base
        }
        return {
            **own,
            **base,
            "weight_decay": serialized(self.weight_decay),
            "groups": serialized(assignment.groups) or None,
            "before": serialized(assignment.before) or None,
            "after": serialized(assignment.after) or None,
            "assignment": assignment.saved(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        config = dict(config)
        saved = config.pop("assignment", None)
        optimizer = cls(**{name: deserialized(value, custom_objects) for name, value in config.items()})
        if saved:
            optimizer._assignment.restore(saved)
        return optimizer
