"""Other people's Adam and relatives, spelt with kopt's arguments; see `oracles`."""

import functools
from collections.abc import Callable
from typing import Any

import keras


def optax_decayed(make: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the oracle for a function of (optax, arguments) that returns a direction."""

    def oracle(learning_rate: float, weight_decay: float = 0.0, **kwargs: Any) -> Any:
        import optax

        return optax.chain(
            make(optax, **kwargs), optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate)
        )

    return oracle


@optax_decayed
def optax_nadam(optax: Any, beta_1: float, beta_2: float, epsilon: float) -> Any:
    return optax.scale_by_adam(beta_1, beta_2, epsilon, nesterov=True)


@optax_decayed
def optax_ademamix(
    optax: Any,
    beta_1: float,
    beta_2: float,
    beta_3: float,
    slow_weight: float,
    epsilon: float = 1e-8,
    warmup_steps: int = 0,
) -> Any:
    import jax.numpy as jnp

    def slow_beta(count: Any) -> Any:
        start, end, share = jnp.log(beta_1), jnp.log(beta_3), jnp.minimum((count + 1) / warmup_steps, 1)
        return jnp.minimum(jnp.exp(start * end / ((1 - share) * end + share * start)), beta_3)

    def alpha(count: Any) -> Any:
        return slow_weight * jnp.minimum((count + 1) / warmup_steps, 1)

    varying = (slow_beta, alpha) if warmup_steps else (beta_3, slow_weight)
    return optax.contrib.scale_by_ademamix(beta_1, beta_2, *varying, eps=epsilon)


@optax_decayed
def optax_adopt(optax: Any, beta_1: float, beta_2: float, epsilon: float, clip_exponent: float | None = 0.25) -> Any:
    return optax.contrib.scale_by_adopt(
        beta_1,
        beta_2,
        epsilon,
        use_clipping=clip_exponent is not None,
        clip_value_fn=lambda count: count**clip_exponent,
    )


@optax_decayed
def optax_radam(optax: Any, beta_1: float, beta_2: float, epsilon: float) -> Any:
    return optax.scale_by_radam(beta_1, beta_2, epsilon)


@optax_decayed
def optax_adamax(optax: Any, beta_1: float, beta_2: float, epsilon: float) -> Any:
    return optax.scale_by_adamax(beta_1, beta_2, epsilon)


@optax_decayed
def optax_adabelief(optax: Any, beta_1: float, beta_2: float, epsilon: float) -> Any:
    return optax.scale_by_belief(beta_1, beta_2, epsilon, epsilon)


@optax_decayed
def optax_yogi(
    optax: Any, beta_1: float, beta_2: float, epsilon: float = 1e-3, initial_accumulator_value: float = 1e-6
) -> Any:
    import jax.numpy as jnp

    inner = optax.scale_by_yogi(beta_1, beta_2, epsilon, initial_accumulator_value=initial_accumulator_value)

    def init(params: Any) -> Any:
        # optax starts the average of the gradients at `initial_accumulator_value`, too.
        state = inner.init(params)
        return state._replace(mu=[jnp.zeros_like(m) for m in state.mu])

    return optax.GradientTransformation(init, inner.update)


def keras_nadam(*, momentum_decay: float, **kwargs: Any) -> Any:
    assert momentum_decay == 1, "Keras has no other"
    return keras.optimizers.Nadam(**kwargs)


def torch_optimizer(name: str, betas: int = 2, extra: dict[str, Any] | None = None, **names: str) -> Callable[..., Any]:
    """Returns the oracle for a class of `torch.optim`, or of `pytorch_optimizer` where torch has none.

    Args:
        name: Of the class.
        betas: How many there are.
        extra: Arguments that it always gets.
        names: What it calls an argument that has another name here.
    """

    def oracle(parameters: Any, learning_rate: float, epsilon: float, **kwargs: Any) -> Any:
        import torch

        kind = getattr(torch.optim, name, None)
        if kind is None:
            import pytorch_optimizer

            kind = getattr(pytorch_optimizer, name)
        given = tuple(kwargs.pop(f"beta_{i + 1}") for i in range(betas))
        renamed = {names.get(key, key): value for key, value in kwargs.items()}
        return kind(parameters, lr=learning_rate, betas=given, eps=epsilon, **renamed, **(extra or {}))

    return oracle


torch_nadam = torch_optimizer("NAdam", extra={"decoupled_weight_decay": True})
torch_radam = torch_optimizer("RAdam", extra={"decoupled_weight_decay": True})
torch_adamax = torch_optimizer("Adamax")
torch_ademamix = torch_optimizer(
    "AdEMAMix", 3, {"weight_decouple": True}, slow_weight="alpha", warmup_steps="t_alpha_beta3"
)
torch_adan = torch_optimizer("Adan", 3, {"weight_decouple": False, "max_grad_norm": 0.0})
torch_laprop = torch_optimizer("LaProp", extra={"foreach": False})
torch_adabelief = torch_optimizer("AdaBelief", extra={"weight_decouple": True})


def torch_adopt(parameters: Any, clip_delay: int, clip_exponent: float = 0.25, **kwargs: Any) -> Any:
    bound = functools.partial(_power, clip_delay, clip_exponent)
    return torch_optimizer("ADOPT", extra={"weight_decouple": True, "clip_lambda": bound})(parameters, **kwargs)


def _power(delay: int, exponent: float, step: int) -> float:
    return (step - delay) ** exponent
