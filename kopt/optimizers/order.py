"""Chains that can run but make no sense, told to the user before training."""

from collections.abc import Iterator, Sequence

from kopt.transforms import Cautious, Lookahead, Mechanic, ScaleByLearningRate, Transform


def complaints(chain: Sequence[Transform]) -> Iterator[str]:
    """Yields what is senseless about the order of a chain, in words."""
    rates = [place for place, transform in enumerate(chain) if isinstance(transform, ScaleByLearningRate)]
    if len(rates) > 1:
        yield "The learning rate is applied twice: leave one `ScaleByLearningRate` out."
    for place, transform in enumerate(chain):
        name, front, behind = type(transform).__name__, chain[:place], chain[place + 1 :]
        if transform.clips and rates and rates[0] < place:
            yield f"`{name}` stands behind the learning rate: its limit would be one of steps. Put it in front."
        if transform.acts_on == "step" and rates and rates[-1] > place:
            yield f"`{name}` acts on the step, but stands in front of the learning rate. `after=[...]` puts it behind."
        if isinstance(transform, Cautious) and not any(map(_has_state, front)):
            yield f"`{name}` sees the gradient itself as the direction, and so does nothing: put it behind a momentum."
        if isinstance(transform, Mechanic):
            moving = next((other for other in behind if _moves(other)), None)
            if moving is not None:
                yield f"`{type(moving).__name__}` moves the weights behind `{name}`, which moves them back each time."
        if transform.averages:
            if any(type(other) is type(transform) for other in front):
                yield f"Two `{name}` stand in one chain: the second one averages what the first one holds back already."
            changing = next((other for other in behind if not other.averages and other.acts_on == "step"), None)
            if changing is not None:
                yield (
                    f"`{type(changing).__name__}` changes the step behind `{name}`, which then averages weights that "
                    f"the model never has: put `{name}` last."
                )


def _moves(transform: Transform) -> bool:
    """Returns whether a transform changes the step, and does not only watch it."""
    return isinstance(transform, Lookahead) or not (transform.averages or transform.guards)


def _has_state(transform: Transform) -> bool:
    return type(transform).slots is not Transform.slots
