"""The penalties and dropout rates that a trial wants in a model: where they go, and whether they got there."""

import dataclasses
import numbers
from typing import Any

import keras

from kopt._backend import watch
from kopt._core.layer_kinds import INNER_RATES, REGULARIZERS, is_close, is_drop_path, is_dropout, is_on, rate_of

_PENALTIES = (*REGULARIZERS["kernel"], *REGULARIZERS["recurrent"])


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Numbers to put into a model; None leaves what is there.

    Attributes:
        l1: L1 penalty on kernels.
        l2: L2 penalty on kernels; where one of the two is given, the other one is 0.
        dropout: Rate of the dropout layers, and of the dropout inside recurrent layers and attention that have any.
        drop_path: Largest rate of the `DropPath` layers.
        largest_path: The largest rate that they have in the model that is given.
    """

    l1: float | None = None
    l2: float | None = None
    dropout: float | None = None
    drop_path: float | None = None
    largest_path: float = 0.0

    @classmethod
    def of(cls, values: dict[str, Any], model: keras.Model) -> "Wanted":
        """Returns what the values of a trial want of a model.

        Args:
            values: By name; others than these are left out.
            model: The model that is given.
        """
        names = ("l1", "l2", "dropout", "drop_path")
        paths = [rate_of(layer) for layer in watch.flat_layers(model) if is_drop_path(type(layer).__name__)]
        largest = max((float(rate) for rate in paths if isinstance(rate, numbers.Real)), default=0.0)
        return cls(**{name: values.get(name) for name in names}, largest_path=largest)

    def is_empty(self) -> bool:
        """Returns whether nothing is wanted."""
        return not self._penalizes() and self.dropout is None and self.drop_path is None

    def edit(self, part: dict[str, Any]) -> None:
        """Puts the numbers into one serialized layer.

        Args:
            part: With `"class_name"` and `"config"`, changed in place.
        """
        config, kind = part["config"], part["class_name"]
        if self._penalizes():
            for key in _PENALTIES:
                if key in config:
                    config[key] = keras.regularizers.serialize(self._penalty()) if any(self._sizes()) else None
        if self.dropout is not None:
            if is_dropout(kind) and "rate" in config:
                config["rate"] = self.dropout
            for key in INNER_RATES:
                if is_on(config.get(key)):
                    config[key] = self.dropout
        if self.drop_path is not None and is_drop_path(kind) and "rate" in config:
            config["rate"] = self._path_rate(config["rate"])

    def is_met_by(self, model: keras.Model) -> bool:
        """Returns whether all layers of a model have the numbers already."""
        return not self._unmet(model) and not self._absent(model)

    def check(self, model: keras.Model) -> None:
        """Raises `ValueError` if a model has no layer for a number, or layers that have another one."""
        for name in self._absent(model):
            what = {"penalty": "`l1` and `l2`", "drop_path": "`drop_path`"}.get(name, "`dropout`")
            need = {"penalty": "kernels", "drop_path": "`DropPath` layers"}.get(name, "dropout layers")
            raise ValueError(
                f"{what} of the space must have a place in the model, which has no {need}. Received: {model.name!r}. "
                "Add such layers, or leave it out of the space."
            )
        unmet = self._unmet(model)
        if unmet:
            raise ValueError(
                f"The space's {', '.join(sorted({name for _, name in unmet}))} must reach every layer. Received: "
                f"{unmet[0][0]!r}, which another layer makes with numbers of its own. Let that layer take them in its "
                "constructor, and give a function that builds the model: "
                '`hp.get("dropout")`, `hp.get("l2")` are what the trial has.'
            )

    def _penalizes(self) -> bool:
        return self.l1 is not None or self.l2 is not None

    def _sizes(self) -> tuple[float, float]:
        return self.l1 or 0.0, self.l2 or 0.0

    def _penalty(self) -> keras.regularizers.Regularizer:
        l1, l2 = self._sizes()
        return keras.regularizers.L1L2(l1=l1, l2=l2)

    def _path_rate(self, rate: Any) -> float:
        assert self.drop_path is not None
        share = float(rate) / self.largest_path if self.largest_path and isinstance(rate, numbers.Real) else 1.0
        return self.drop_path * share

    def _absent(self, model: keras.Model) -> list[str]:
        layers = watch.flat_layers(model)
        absent = []
        if self._penalizes() and not any(hasattr(layer, key) for layer in layers for key in _PENALTIES):
            absent.append("penalty")
        if self.dropout is not None and not any(_has_dropout(layer) for layer in layers):
            # A rate of 0 inside a recurrent layer looks like none at all.
            absent += [] if not self.dropout and any(hasattr(layer, "dropout") for layer in layers) else ["dropout"]
        if self.drop_path is not None and not any(is_drop_path(type(layer).__name__) for layer in layers):
            absent.append("drop_path")
        return absent

    def _unmet(self, model: keras.Model) -> list[tuple[str, str]]:
        found = []
        for layer in watch.flat_layers(model):
            kind = type(layer).__name__
            if self._penalizes():
                own = [getattr(layer, key) for key in _PENALTIES if hasattr(layer, key)]
                found += [(layer.name, "l1 and l2") for penalty in own if not self._is_penalty(penalty)]
            if self.dropout is not None:
                rates = [rate_of(layer)] if is_dropout(kind) and hasattr(layer, "rate") else []
                rates += [getattr(layer, key, 0.0) for key in INNER_RATES if is_on(getattr(layer, key, 0.0))]
                found += [(layer.name, "dropout") for rate in rates if not is_close(rate, self.dropout)]
            if self.drop_path is not None and is_drop_path(kind) and _is_above(rate_of(layer), self.drop_path):
                found.append((layer.name, "drop_path"))
        return found

    def _is_penalty(self, penalty: Any) -> bool:
        if penalty is None:
            return not any(self._sizes())
        known = isinstance(penalty, keras.regularizers.L1 | keras.regularizers.L2 | keras.regularizers.L1L2)
        own = (getattr(penalty, "l1", 0.0), getattr(penalty, "l2", 0.0))
        return known and all(is_close(a, b) for a, b in zip(own, self._sizes(), strict=True))


def _is_above(rate: Any, limit: float) -> bool:
    return not isinstance(rate, numbers.Real) or float(rate) > limit * (1 + 1e-6)


def _has_dropout(layer: Any) -> bool:
    is_layer = is_dropout(type(layer).__name__) and hasattr(layer, "rate")
    return is_layer or any(is_on(getattr(layer, key, 0.0)) for key in INNER_RATES)
