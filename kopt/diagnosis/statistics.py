"""What a diagnosis is made from: facts of data and model, numbers of real steps, and the logs of epochs, as JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
_FIRST, _MOST = 16, 128
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass
class Look:
    """What one optimizer step showed.

    Attributes:
        step: Its number; the first is 1.
        epoch: Number of the epoch that it belongs to, from 0.
        numbers: Scalars by the tags of `kopt.callbacks.TensorBoard`, such as `gradients_norm/<path>`.

    Args:
        step: As above.
        epoch: As above.
        numbers: As above.
    """

    step: int
    epoch: int
    numbers: dict[str, float]

    def family(self, name: str) -> dict[str, float]:
        """Returns the numbers `<name>/<key>` by their keys."""
        start = f"{name}/"
        return {tag[len(start) :]: value for tag, value in self.numbers.items() if tag.startswith(start)}


@dataclass
class Statistics:
    """What was seen of a run. All of it is plain Python: `save` writes it as JSON and `load` reads it back.

    Attributes:
        data: Facts of the arrays that were looked at before training: `inputs`, `targets`, `leaks`, `duplicates`.
        model: Facts of the model: `layers`, `kernels`, `outputs`, `optimizer`, `trainable_weights`, ...
        looks: Real steps, oldest first. The first 16 stay; of later ones at most 128, evenly spaced.
        epochs: The logs of each epoch, such as `loss` and `val_accuracy`, with its number as `epoch`.
        is_over: Whether training has ended.

    Args:
        data: As above.
        model: As above.
        looks: As above.
        epochs: As above.
        is_over: As above.
    """

    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    is_over: bool = False

    def add(self, look: Look) -> None:
        """Adds a step, and thins earlier ones out where there are many."""
        self.looks.append(look)
        later = self.looks[_FIRST:]
        if len(later) > _MOST:
            # The newest stays, so that what is judged is now.
            self.looks = self.looks[:_FIRST] + later[len(later) % 2 :: 2][:-1] + [look]

    def metric(self, name: str) -> list[float]:
        """Returns a metric by epoch, as far as epochs have it."""
        return [epoch[name] for epoch in self.epochs if name in epoch]

    def of_epoch(self, epoch: int) -> list[Look]:
        """Returns the steps that were seen in an epoch."""
        return [look for look in self.looks if look.epoch == epoch]

    def until(self, epochs: int) -> "Statistics":
        """Returns what was known when so many epochs had ended."""
        known = self.epochs[:epochs]
        last = known[-1]["epoch"] if known else -1
        looks = [look for look in self.looks if look.epoch <= last]
        return Statistics(self.data, self.model, looks, known, self.is_over and epochs >= len(self.epochs))

    def stages(self) -> Iterator["Statistics"]:
        """Yields what was known before training, and after each epoch."""
        for epochs in range(len(self.epochs) + 1):
            yield self.until(epochs)

    def save(self, path: str | Path) -> None:
        """Writes a JSON file; NaN and infinities become strings."""
        text = json.dumps(encoded({"format": FORMAT, **asdict(self)}), allow_nan=False)
        Path(path).write_text(text)

    @classmethod
    def load(cls, path: str | Path) -> "Statistics":
        """Reads what `save` has written.

        Raises:
            ValueError: The file holds something else.
        """
        try:
            found = _decoded(json.loads(Path(path).read_text()))
        except json.JSONDecodeError as error:
            raise ValueError(f"`path` must be a file of `Statistics.save`. Received: path={str(path)!r}.") from error
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise ValueError(f"`path` must be a file of `Statistics.save`, format {FORMAT}. Received: {str(path)!r}.")
        looks = [Look(**look) for look in found.pop("looks")]
        return cls(looks=looks, **found)


def encoded(value: Any) -> Any:
    """Returns a value as strict JSON can hold it: NaN and infinities become strings."""
    if isinstance(value, Mapping):
        return {str(key): encoded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decoded(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_decoded(member) for member in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value
