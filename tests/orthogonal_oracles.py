"""Other people's Muon, spelt with kopt's arguments."""

import math
from collections.abc import Sequence
from typing import Any

import keras


def optax_muon(
    learning_rate: float,
    momentum: float,
    ns_steps: int,
    ns_coefficients: Sequence[float],
    epsilon: float,
    size: str,
    adam_beta_1: float,
    adam_beta_2: float,
    adam_learning_rate_ratio: float,
    nesterov: bool,
    weight_decay: float = 0.0,
) -> Any:
    """`optax.contrib.muon` for parameters `[square, wide, tall, convolution, head, bias]`, with one epsilon for both.

    Its momentum is corrected for bias, which the norm cancels as long as epsilon is small beside it. Its decay of
    Adam's variables is multiplied by Adam's own rate, and its `nesterov` is Adam's, too.
    """
    import optax

    kind = optax.contrib.MuonDimensionNumbers
    assert not nesterov
    return optax.contrib.muon(
        learning_rate,
        ns_coefficients,
        ns_steps,
        momentum,
        epsilon,
        weight_decay,
        nesterov=False,
        adam_b1=adam_beta_1,
        adam_b2=adam_beta_2,
        adam_weight_decay=weight_decay / adam_learning_rate_ratio,
        adam_learning_rate=learning_rate * adam_learning_rate_ratio,
        muon_weight_dimension_numbers=[kind()] * 3 + [kind((0, 1, 2), 3), None, None],
        consistent_rms=0.2 if size == "rms" else None,
    )


def optax_nesterov_muon(
    learning_rate: float,
    momentum: float,
    ns_steps: int,
    epsilon: float,
    size: str,
    matrices: str,
    weight_decay: float = 0.0,
) -> Any:
    """The original momentum from optax' parts: heavy ball with Nesterov in front of a Muon that averages nothing.

    Heavy ball is 1 / (1 - momentum) times the average.
    """
    import optax

    assert size == "spectral"
    kind = optax.contrib.MuonDimensionNumbers()
    return optax.chain(
        optax.trace(momentum, nesterov=True),
        optax.contrib.scale_by_muon(
            ns_steps=ns_steps,
            beta=0.0,
            eps=epsilon / (1 - momentum),
            nesterov=False,
            weight_dimension_numbers=lambda updates: [kind] * len(updates),
        ),
        optax.stateless(lambda updates, _: [u * math.sqrt(max(1, u.shape[1] / u.shape[0])) for u in updates]),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


class KerasMuon:
    """Keras' Muon, which adds 1e-7 to the norm of a sum that is 1 / (1 - momentum) times our average.

    Its Adam adds epsilon before bias correction, as `oracles.KerasAdam` says.
    """

    def __init__(
        self,
        *,
        epsilon: float,
        momentum: float,
        ns_coefficients: Sequence[float],
        adam_learning_rate_ratio: float,
        adam_epsilon: float,
        weight_decay: float,
        **kwargs: Any,
    ) -> None:
        assert math.isclose(epsilon, 1e-7 * (1 - momentum))
        a, b, c = ns_coefficients
        self.inner = keras.optimizers.Muon(
            muon_a=a,
            muon_b=b,
            muon_c=c,
            momentum=momentum,
            adam_lr_ratio=adam_learning_rate_ratio,
            weight_decay=weight_decay,
            adam_weight_decay=weight_decay,
            exclude_layers=["head"],
            **kwargs,
        )
        self.epsilon, self.t = adam_epsilon, 0

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        self.t += 1
        self.inner.epsilon = self.epsilon * math.sqrt(1 - self.inner.adam_beta_2**self.t)
        self.inner.apply(gradients, variables)


def torch_kron(
    parameters: Sequence[Any],
    learning_rate: float,
    beta_1: float,
    precondition_frequency: int = 1,
    precondition_learning_rate: float = 0.1,
    max_size_triangular: int = 8192,
    weight_decay: float = 0.0,
) -> Any:
    """pytorch_optimizer's Kron with its random probe V replaced by the mean over all V: the sum over unit matrices."""
    import torch
    from pytorch_optimizer.optimizer import psgd

    def update_precondition(qs: Any, expressions: Any, v: Any, g: Any, step: float, eps: float) -> None:
        def terms(unit: int) -> Any:
            probe = torch.zeros_like(v).view(-1)
            probe[unit] = 1
            a, b = psgd.get_a_and_conj_b(expressions[0], g, qs, probe.view(v.shape))
            return psgd.get_q_terms(expressions[1], a, b)

        units = [terms(unit) for unit in range(v.numel())]
        for n, q in enumerate(qs):
            gram, noise = units[0][n][0], sum(unit[n][1] for unit in units)
            if q.dim() < 2:
                q -= step * (gram - noise) * q / ((gram + noise).abs().max() + eps)
            else:
                q -= step * torch.triu(gram - noise) @ q / (psgd.norm_lower_bound(gram + noise) + eps)

    class MeanOverProbes(psgd.Kron):
        def step(self, closure: Any = None) -> Any:
            original, psgd.update_precondition = psgd.update_precondition, update_precondition
            try:
                return super().step(closure)
            finally:
                psgd.update_precondition = original

    optimizer = MeanOverProbes(
        parameters,
        lr=learning_rate,
        momentum=beta_1,
        weight_decay=weight_decay,
        max_size_triangular=max_size_triangular,
        pre_conditioner_update_probability=lambda step: torch.tensor(float(step % precondition_frequency == 0)),
        balance_prob=1.0,
        precondition_dtype=torch.float64,
    )
    for group in optimizer.param_groups:
        group["precondition_lr"] = precondition_learning_rate
    return optimizer
