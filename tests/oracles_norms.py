"""Other people's LAMB, LARS, StableAdamW, MARS, Adafactor and CAME, spelt with kopt's arguments.

optax, torch and pytorch_optimizer are imported when they are called: most processes have no use for them.
"""

from typing import Any

import keras


def _matrices(tree: Any) -> list[bool]:
    return [x.ndim >= 2 for x in tree]


def optax_lamb(
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    scale_vectors: bool = True,
) -> Any:
    import optax

    if scale_vectors:
        return optax.lamb(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay)
    return optax.chain(
        optax.scale_by_adam(beta_1, beta_2, epsilon),
        optax.add_decayed_weights(weight_decay),
        optax.masked(optax.scale_by_trust_ratio(), _matrices),
        optax.scale_by_learning_rate(learning_rate),
    )


def keras_lamb(**kwargs: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.Lamb(**kwargs)


def torch_lamb(
    params: Any, learning_rate: float, beta_1: float, beta_2: float, bias_correction: bool, **others: Any
) -> Any:
    from pytorch_optimizer import Lamb

    assert not bias_correction
    decay, epsilon = others["weight_decay"], others["epsilon"]
    # `adam_debias` is the rate without a correction of the first average; the second has none anyway.
    return Lamb(params, learning_rate, (beta_1, beta_2), decay, weight_decouple=False, eps=epsilon, adam_debias=True)


def optax_lars(
    learning_rate: float,
    momentum: float,
    trust_coefficient: float,
    epsilon: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    scale_vectors: bool = True,
) -> Any:
    import optax

    return optax.lars(
        learning_rate,
        weight_decay,
        trust_coefficient=trust_coefficient,
        eps=epsilon,
        trust_ratio_mask=True if scale_vectors else _matrices,
        momentum=momentum,
        nesterov=nesterov,
    )


def torch_lars(
    params: Any,
    learning_rate: float,
    momentum: float,
    trust_coefficient: float,
    scale_vectors: bool,
    separate_norms: bool = False,
    weight_decay: float = 0.0,
) -> Any:
    from pytorch_optimizer import LARS

    assert not scale_vectors
    assert separate_norms or not weight_decay
    return LARS(params, learning_rate, weight_decay, momentum, trust_coefficient=trust_coefficient)


def torch_stable_adamw(
    params: Any, learning_rate: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.01
) -> Any:
    from pytorch_optimizer import StableAdamW

    return StableAdamW(params, learning_rate, (beta_1, beta_2), weight_decay=weight_decay, eps=epsilon)


def torch_mars(
    params: Any,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    gamma: float,
    epsilon: float,
    vector_beta_1: float = 0.9,
    vector_beta_2: float = 0.95,
    weight_decay: float = 0.0,
    correct_vectors: bool = False,
) -> Any:
    from pytorch_optimizer import MARS

    return MARS(
        params,
        learning_rate,
        (beta_1, beta_2),
        gamma,
        optimize_1d=correct_vectors,
        lr_1d=learning_rate,
        betas_1d=(vector_beta_1, vector_beta_2),
        weight_decay=weight_decay,
        weight_decay_1d=weight_decay,
        eps=epsilon,
    )


def torch_adafactor(
    params: Any,
    learning_rate: float,
    beta_2_decay: float,
    epsilon_1: float,
    epsilon_2: float,
    clip_threshold: float,
    weight_decay: float,
) -> Any:
    import torch

    return torch.optim.Adafactor(
        params, learning_rate, beta_2_decay, (epsilon_1, epsilon_2), clip_threshold, weight_decay
    )


def keras_adafactor(**kwargs: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adafactor(**kwargs)


def optax_adafactor(
    learning_rate: float,
    beta_2_decay: float,
    epsilon_1: float,
    clip_threshold: float | None,
    relative_step: bool,
    scale_parameter: bool = True,
    beta_1: float | None = None,
    weight_decay: float = 0.0,
) -> Any:
    import optax

    assert not relative_step
    return optax.adafactor(
        learning_rate,
        min_dim_size_to_factor=1,
        decay_rate=-beta_2_decay,
        multiply_by_parameter_scale=scale_parameter,
        clipping_threshold=clip_threshold,
        momentum=beta_1,
        weight_decay_rate=learning_rate * weight_decay,
        eps=epsilon_1,
    )


def torch_came(
    params: Any,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    beta_3: float,
    epsilon_2: float,
    clip_threshold: float,
    epsilon_1: float = 1e-30,
    weight_decay: float = 0.0,
) -> Any:
    from pytorch_optimizer import CAME

    return CAME(
        params,
        learning_rate,
        (beta_1, beta_2, beta_3),
        weight_decay,
        clip_threshold=clip_threshold,
        eps1=epsilon_1,
        eps2=epsilon_2,
    )
