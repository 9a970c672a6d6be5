"""Other people's schedules: optax' in double precision, torch's and pytorch_optimizer's as the rates of a whole run."""

from collections.abc import Callable, Sequence
from typing import Any


def optax_schedule(name: str, *args: Any, **kwargs: Any) -> Callable[[], Callable[[int], float]]:
    """Returns a maker of an optax schedule. In its float32, 0.93 to the power of 60 is off by 2e-6."""

    def make() -> Callable[[int], float]:
        import jax
        import optax

        schedule = getattr(optax, name)(*args, **kwargs)

        def at(step: int) -> float:
            with jax.enable_x64(True):
                return float(schedule(jax.numpy.asarray(step, "int64")))

        return at

    return make


def optax_joined(
    schedules: Sequence[Callable[[], Any]], boundaries: Sequence[int]
) -> Callable[[], Callable[[int], float]]:
    """Joins optax schedules that `optax_schedule` made."""

    def make() -> Callable[[int], float]:
        import jax
        import optax

        made = [schedule() for schedule in schedules]
        joined = optax.join_schedules([lambda s, one=one: one(int(s)) for one in made], boundaries)

        def at(step: int) -> float:
            with jax.enable_x64(True):
                return float(joined(step))

        return at

    return make


def optax_warmed(ramp: Callable[[], Any], schedule: Callable[[], Any]) -> Callable[[], Callable[[int], float]]:
    """Multiplies two: optax joins a ramp in front and shifts the schedule; ours is the product of both."""
    return lambda: lambda step: ramp()(step) * schedule()(step)


def _rates(steps: int, make: Callable[[Any], Any], rate: float) -> list[float]:
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def torch_schedule(name: str, rate: float, **kwargs: Any) -> Callable[[int], list[float]]:
    """Returns a function from a number of steps to the rates of `torch.optim.lr_scheduler.<name>`."""

    def rates(steps: int) -> list[float]:
        import torch

        return _rates(steps, lambda optimizer: getattr(torch.optim.lr_scheduler, name)(optimizer, **kwargs), rate)

    return rates


def torch_one_cycle(total_steps: int, **kwargs: Any) -> Callable[[int], list[float]]:
    """As `torch_schedule`, but ends where torch's does: it counts no further than one step beyond."""
    theirs = torch_schedule("OneCycleLR", 1.0, total_steps=total_steps, cycle_momentum=False, **kwargs)
    return lambda steps: theirs(min(steps, total_steps))


def torch_sequence(rate: float, milestones: list[int], *parts: tuple[str, dict[str, Any]]) -> Any:
    """As `torch_schedule`, for a `SequentialLR`."""

    def rates(steps: int) -> list[float]:
        from torch.optim import lr_scheduler

        def make(optimizer: Any) -> Any:
            made = [getattr(lr_scheduler, name)(optimizer, **kwargs) for name, kwargs in parts]
            return lr_scheduler.SequentialLR(optimizer, made, milestones)

        return _rates(steps, make, rate)

    return rates


def other_rex(rate: float, steps: int, alpha: float) -> Callable[[int], list[float]]:
    """pytorch_optimizer's REX, which sets the rate of a step when it is stepped."""

    def rates(count: int) -> list[float]:
        import pytorch_optimizer
        import torch

        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        scheduler = pytorch_optimizer.REXScheduler(optimizer, steps, rate, rate * alpha)
        scheduler.step_t = 0
        return [float(scheduler.step()) for _ in range(count)]

    return rates


def other_trapezoid(
    rate: float, warmup: int, stable: int, decay: int, alpha: float, shape: str
) -> Callable[[int], list[float]]:
    """pytorch_optimizer's warm-up, plateau and decay, which starts at a rate of 0: one step later is where we start."""

    def rates(count: int) -> list[float]:
        import pytorch_optimizer

        def make(optimizer: Any) -> Any:
            return pytorch_optimizer.get_wsd_schedule(
                optimizer, warmup, stable + 1, decay, min_lr_ratio=alpha, cooldown_type=shape
            )

        return _rates(count + 1, make, rate)[1:]

    return rates
