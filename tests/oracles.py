"""Other people's implementations, spelt with kopt's arguments: what the catalogue's rows are compared with.

optax needs jax, which processes with another Keras backend should not have to load: it is imported when called.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras


def optax_sgd(learning_rate: Any, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Any:
    import optax

    return optax.chain(
        optax.trace(momentum, nesterov) if momentum else optax.identity(),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def optax_rmsprop(
    learning_rate: float,
    rho: float = 0.9,
    momentum: float | None = None,
    epsilon: float = 1e-7,
    centered: bool = False,
    weight_decay: float = 0.0,
) -> Any:
    import optax

    scale = optax.rmsprop(1.0, rho, epsilon, centered=centered, momentum=momentum)
    # `scale` has the minus sign of its own learning rate of 1 already.
    return optax.chain(scale, optax.add_decayed_weights(-weight_decay), optax.scale(learning_rate))


def optax_adam(
    learning_rate: Any, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0
) -> Any:
    import optax

    return optax.adamw(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay)


class KerasAdam:
    """Keras' Adam, given at each step the epsilon and the rate that make its definition equal ours.

    Keras adds epsilon before bias correction, hence epsilon * sqrt(1 - beta_2^t); it has no switch for bias correction,
    hence a rate that cancels it (the cancelled correction then leaves epsilon alone).
    """

    def __init__(self, *, bias_correction: bool = True, **kwargs: Any) -> None:
        self.inner = keras.optimizers.Adam(**kwargs)
        self.rate, self.epsilon, self.bias_correction = kwargs["learning_rate"], kwargs["epsilon"], bias_correction
        self.t = 0

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        self.t += 1
        root = math.sqrt(1 - self.inner.beta_2**self.t)
        if self.bias_correction:
            self.inner.epsilon = self.epsilon * root
        else:
            self.inner.learning_rate = self.rate * (1 - self.inner.beta_1**self.t) / root
        self.inner.apply(gradients, variables)


def _optax_schedule_free(
    base: Any, learning_rate: float, beta: float, warmup_steps: int, weight_power: float, weight_decay: float
) -> Any:
    """Returns optax' wrapper; `optax.contrib.schedule_free_*` would show the base a warm-up that is one step late."""
    import optax

    def rate(t: Any) -> Any:
        return optax.linear_schedule(0.0, learning_rate, warmup_steps)(t) if warmup_steps else learning_rate

    chain = optax.chain(
        base, optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(lambda count: rate(count + 1))
    )
    return optax.contrib.schedule_free(chain, rate if warmup_steps else learning_rate, beta, weight_power)


def optax_schedule_free_sgd(
    learning_rate: float,
    momentum: float,
    warmup_steps: int = 0,
    weight_power: float = 2.0,
    weight_decay: float = 0.0,
) -> Any:
    import optax

    if not warmup_steps:
        return optax.contrib.schedule_free_sgd(
            learning_rate, b1=momentum, weight_decay=weight_decay, weight_lr_power=weight_power
        )
    return _optax_schedule_free(optax.identity(), learning_rate, momentum, warmup_steps, weight_power, weight_decay)


def optax_schedule_free_adamw(
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    warmup_steps: int = 0,
    weight_power: float = 2.0,
    weight_decay: float = 0.0,
) -> Any:
    import optax

    if not warmup_steps:
        return optax.contrib.schedule_free_adamw(
            learning_rate, None, beta_1, beta_2, epsilon, weight_decay, weight_lr_power=weight_power
        )
    base = optax.scale_by_rms(beta_2, epsilon, eps_in_sqrt=False, bias_correction=True)
    return _optax_schedule_free(base, learning_rate, beta_1, warmup_steps, weight_power, weight_decay)


def torch_schedule_free_sgd(
    parameters: Any,
    learning_rate: float,
    momentum: float,
    step_power: float = 0.0,
    weight_power: float = 2.0,
    **rest: Any,
) -> Any:
    from pytorch_optimizer import ScheduleFreeSGD

    return ScheduleFreeSGD(
        parameters, learning_rate, momentum, r=step_power, weight_lr_power=weight_power, foreach=False, **rest
    )


def torch_schedule_free_adamw(
    parameters: Any,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    step_power: float = 0.0,
    weight_power: float = 2.0,
    **rest: Any,
) -> Any:
    from pytorch_optimizer import ScheduleFreeAdamW

    return ScheduleFreeAdamW(
        parameters,
        learning_rate,
        (beta_1, beta_2),
        eps=epsilon,
        r=step_power,
        weight_lr_power=weight_power,
        foreach=False,
        **rest,
    )


def torch_lbfgs(parameters: Any, learning_rate: float, memory: int, line_search: bool, epsilon: float) -> Any:
    """Returns torch's method with one iteration a step: its own `step` evaluates the gradient as often as it likes."""
    import torch

    class OneGradientAStep(torch.optim.LBFGS):
        def step(self) -> None:
            super().step(lambda: torch.zeros(()))

    return OneGradientAStep(
        parameters, learning_rate, max_iter=1, tolerance_grad=0.0, tolerance_change=0.0, history_size=memory
    )


def optax_clip_momentum(transforms: Any, weight_decay: float, learning_rate: float) -> Any:
    import optax

    return optax.chain(optax.clip(0.5), optax_sgd(learning_rate, 0.7, weight_decay=weight_decay))
