"""Where to search when nobody says where: ranges for each named optimizer and schedule."""

from typing import Any

from kopt.tuning.space.ranges import Choice, Float, Range

Ranges = dict[str, Any]


def log(low: float, high: float, default: float) -> Float:
    """Returns a range on a log scale."""
    return Float(low, high, sampling="log", default=default)


def _rate(low: float, high: float, default: float, **others: Any) -> Ranges:
    return {"learning_rate": log(low, high, default), **others}


_DECAY: Range = log(1e-3, 0.3, 0.01)
_MOMENTUM: Range = Choice([0.8, 0.9, 0.95, 0.98], default=0.9)
_BETA_1: Range = Choice([0.8, 0.9, 0.95], default=0.9)
_BETA_2: Range = Choice([0.95, 0.99, 0.999], default=0.999)

# Rates: a decade or so around what docs/which-optimizer.md and the docstrings name. Rates of methods that estimate
# theirs are a factor, which is 1.
OPTIMIZERS: dict[str, Ranges] = {
    "ADOPT": _rate(1e-4, 1e-2, 1e-3, beta_1=_BETA_1),
    "AdEMAMix": _rate(1e-4, 1e-2, 1e-3, beta_3=Choice([0.99, 0.999, 0.9999], default=0.999),
                      slow_weight=Float(1.0, 10.0, default=5.0), weight_decay=_DECAY),
    "AdaBelief": _rate(1e-4, 1e-2, 1e-3, beta_2=_BETA_2),
    "Adadelta": _rate(1e-2, 3.0, 1.0, rho=Choice([0.9, 0.95, 0.99], default=0.95)),
    "Adafactor": _rate(1e-3, 1e-1, 1e-2, relative_step=False),
    "Adagrad": _rate(1e-3, 0.5, 0.05),
    "Adam": _rate(1e-4, 1e-2, 1e-3, beta_2=_BETA_2),
    "AdamW": _rate(1e-4, 1e-2, 1e-3, weight_decay=_DECAY, beta_2=_BETA_2),
    "Adamax": _rate(2e-4, 2e-2, 2e-3, beta_2=_BETA_2),
    "Adan": _rate(1e-4, 1e-2, 1e-3, weight_decay=_DECAY),
    "CAME": _rate(2e-5, 2e-3, 2e-4, weight_decay=_DECAY),
    "COCOB": {"learning_rate": 1.0, "bet_divisor": log(10.0, 1000.0, 100.0)},
    "DAdaptAdam": {"learning_rate": 1.0, "beta_2": _BETA_2},
    "DoG": {"learning_rate": 1.0, "d0": log(1e-7, 1e-4, 1e-6)},
    "DoWG": {"learning_rate": 1.0, "d0": log(1e-4, 0.1, 1e-2)},
    "Kron": _rate(1e-4, 1e-2, 1e-3, beta_1=_BETA_1, weight_decay=_DECAY),
    "LAMB": _rate(1e-3, 5e-2, 1e-2, weight_decay=_DECAY),
    "LARS": _rate(0.1, 30.0, 3.0, momentum=_MOMENTUM, weight_decay=log(1e-5, 1e-2, 5e-4)),
    "LBFGS": {"learning_rate": 1.0, "memory": Choice([5, 10, 20], default=10)},
    "LaProp": _rate(4e-5, 4e-3, 4e-4, beta_2=_BETA_2),
    "LazyAdam": _rate(1e-4, 1e-2, 1e-3, beta_2=_BETA_2),
    "Lion": _rate(1e-5, 1e-3, 1e-4, weight_decay=log(1e-2, 1.0, 0.1), beta_2=Choice([0.95, 0.98, 0.99], default=0.99)),
    "MADGRAD": _rate(1e-3, 1e-1, 1e-2, momentum=_MOMENTUM),
    "MARS": _rate(3e-4, 1e-2, 3e-3, gamma=Choice([0.0125, 0.025, 0.05], default=0.025), weight_decay=_DECAY),
    "Muon": _rate(3e-4, 2e-2, 2e-3, weight_decay=_DECAY, momentum=Choice([0.9, 0.95, 0.98], default=0.95)),
    "NAdam": _rate(1e-4, 1e-2, 1e-3, beta_2=_BETA_2),
    "NAdamW": _rate(1e-4, 1e-2, 1e-3, weight_decay=_DECAY, beta_2=_BETA_2),
    "NovoGrad": _rate(1e-3, 1e-1, 1e-2, weight_decay=log(1e-4, 1e-2, 1e-3)),
    "Prodigy": {"learning_rate": 1.0, "d_coef": log(0.3, 3.0, 1.0), "weight_decay": _DECAY},
    "RAdam": _rate(1e-4, 1e-2, 1e-3, beta_2=_BETA_2),
    "RMSprop": _rate(1e-4, 1e-2, 1e-3, rho=Choice([0.9, 0.95, 0.99], default=0.9), momentum=Choice([0.0, 0.9])),
    "Rprop": _rate(1e-4, 1e-1, 1e-2),
    "SGD": _rate(1e-3, 1.0, 0.1, momentum=_MOMENTUM, nesterov=True, weight_decay=log(1e-5, 1e-2, 5e-4)),
    "SGDW": _rate(1e-3, 1.0, 0.1, momentum=_MOMENTUM, nesterov=True, weight_decay=log(1e-4, 5e-2, 5e-3)),
    "SM3": _rate(1e-2, 1.0, 0.1, momentum=_MOMENTUM),
    "SOAP": _rate(3e-4, 1e-2, 3e-3, weight_decay=_DECAY),
    "ScheduleFreeAdamW": _rate(5e-4, 3e-2, 2.5e-3, beta_1=Choice([0.9, 0.95, 0.98], default=0.9), weight_decay=_DECAY),
    "ScheduleFreeSGD": _rate(0.05, 10.0, 1.0, momentum=Choice([0.9, 0.95, 0.98], default=0.9)),
    "Scion": _rate(3e-5, 3e-3, 3e-4, weight_decay=0.0),
    "Shampoo": _rate(1e-4, 1e-2, 1e-3, beta_1=_BETA_1, weight_decay=_DECAY),
    "Signum": _rate(1e-5, 1e-2, 1e-3, momentum=_MOMENTUM, weight_decay=_DECAY),
    "StableAdamW": _rate(1e-4, 1e-2, 1e-3, weight_decay=_DECAY, beta_2=Choice([0.95, 0.99, 0.999], default=0.99)),
    "Yogi": _rate(1e-3, 1e-1, 1e-2, beta_2=_BETA_2),
}  # fmt: skip

# Their rate is found by themselves or stays as it is: a schedule on top would fight it.
UNSCHEDULED = {"COCOB", "LBFGS", "Rprop", "ScheduleFreeAdamW", "ScheduleFreeSGD"}

_WARMUP: Range = Float(0.0, 0.2, default=0.05)

# Lengths are shares of the run, the whole of it where nothing is said; `warmup` wraps `kopt.schedules.Warmup` around.
SCHEDULES: dict[str, Ranges] = {
    "Constant": {"warmup": _WARMUP},
    "CosineDecay": {"warmup": _WARMUP},
    "CosineRestarts": {"first_decay_steps": Choice([0.15, 0.25, 0.5], default=0.25), "t_mul": Choice([1.0, 2.0])},
    "ExponentialDecay": {"warmup": _WARMUP, "decay_rate": log(1e-3, 0.5, 0.05)},
    "InverseSqrt": {"decay_steps": Float(0.01, 0.2, sampling="log", default=0.05)},
    "InverseTime": {"warmup": _WARMUP, "decay_rate": log(1.0, 100.0, 10.0)},
    "Linear": {"warmup": _WARMUP},
    "OneCycle": {"pct_start": Float(0.1, 0.5, default=0.3)},
    "Polynomial": {"warmup": _WARMUP, "power": Float(1.0, 4.0, default=2.0)},
    "REX": {"warmup": _WARMUP},
    "StepDecay": {"warmup": _WARMUP, "decay_steps": Choice([0.2, 0.25, 0.34, 0.5], default=0.34),
                  "decay_rate": Choice([0.1, 0.3, 0.5], default=0.1)},
    "WarmupStableDecay": {"warmup_steps": Float(0.0, 0.1, default=0.05),
                          "decay_steps": Float(0.1, 0.5, default=0.2)},
}  # fmt: skip
