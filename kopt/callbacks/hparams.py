"""TensorBoard's "HParams" page: what was chosen for a run beside what came of it."""

import math
import numbers
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kopt._backend import watch
from kopt._core import checks

Value = bool | int | float | str
# Columns that each run has, if only to be compared with one that follows a schedule or decays no weights.
_USUAL = {"learning_rate": "FLOAT64", "optimizer": "STRING", "schedule": "STRING", "weight_decay": "FLOAT64"}


def checked(values: Any) -> dict[str, Value]:
    """Returns hyperparameters by name, as Python's own types."""
    rule = "a dict from names to bool, int, float or str"
    if not isinstance(values, Mapping):
        raise checks.fail("hparams", rule, values)
    found: dict[str, Value] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise checks.fail("hparams", rule, name, "It is a name.")
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, bool | np.bool_):
            found[name] = bool(value)
        elif isinstance(value, numbers.Integral):
            found[name] = int(value)
        elif isinstance(value, numbers.Real) and math.isfinite(value):
            found[name] = float(value)
        else:
            raise checks.fail(f"hparams[{name!r}]", "a bool, an int, a finite float or a str", value)
    return found


def of_run(optimizer: Any, epochs: int | None, steps: int | None, peak: float | None = None) -> dict[str, Value]:
    """Returns what a fit tells by itself: optimizer, its numbers, epochs, and steps per epoch where they are known.

    Of a schedule the learning rate is its `peak`, the greatest in the run.
    """
    found: dict[str, Value] = {}
    parts = [] if optimizer is None else watch.inner_optimizers(optimizer)
    if parts:
        found["optimizer"] = " + ".join(type(part).__name__ for part in parts)
    if len(parts) == 1:
        with watch.without_tensorflow():
            config = parts[0].get_config()
        rate = config.get("learning_rate")
        if isinstance(rate, Mapping):
            found["schedule"] = str(rate.get("class_name"))
            if peak is not None:
                found["learning_rate"] = peak
        idle = {"name"} if config.get("use_ema") else {"name", "ema_momentum"}
        for name, value in config.items():
            # What is off says nothing.
            if name not in idle and isinstance(value, bool | int | float | str) and value is not False:
                found[name] = str(value) if isinstance(value, float) and not math.isfinite(value) else value
    return found | {name: value for name, value in (("epochs", epochs), ("steps_per_epoch", steps)) if value}


def start_value(values: Mapping[str, Value]) -> Any:
    """Returns the beginning of a session as a summary value."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    return _value("session_start_info", HParamsPluginData(session_start_info=start))


def end_value(*, success: bool) -> Any:
    """Returns the end of a session as a summary value."""
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo

    status = Status.Value("STATUS_SUCCESS" if success else "STATUS_FAILURE")
    end = SessionEndInfo(status=status, end_time_secs=time.time())
    return _value("session_end_info", HParamsPluginData(session_end_info=end))


def experiment_value(values: Mapping[str, Value], metrics: Iterable[str], *, chosen: bool) -> Any:
    """Returns the columns of the table as a summary value.

    Args:
        values: Hyperparameters by name.
        metrics: Names as in the logs of an epoch.
        chosen: Whether the user has named the hyperparameters; else the usual ones stand first.
    """
    from tensorboardX.proto.api_pb2 import Experiment, MetricInfo, MetricName
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    kinds = {} if chosen else dict(_USUAL)
    for name, value in values.items():
        kinds[name] = "BOOL" if isinstance(value, bool) else "STRING" if isinstance(value, str) else "FLOAT64"
    infos = [_column(name, kind, first=chosen or name in _USUAL) for name, kind in kinds.items()]
    columns = []
    for metric in metrics:
        own = metric.removeprefix("val_")
        group, kind = ("train", "TRAINING") if own == metric else ("validation", "VALIDATION")
        name = MetricName(group=group, tag=f"epoch_{own}")
        columns.append(MetricInfo(name=name, display_name=f"{group} {own}", dataset_type=f"DATASET_{kind}"))
    return _value("experiment", HParamsPluginData(experiment=Experiment(hparam_infos=infos, metric_infos=columns)))


def _column(name: str, kind: str, *, first: bool) -> Any:
    """Returns what TensorBoard has to know of a hyperparameter.

    A string or number may be any other one in another run: a domain would hide that run from the table.
    """
    from tensorboardX.proto.api_pb2 import HParamInfo

    info = HParamInfo(name=name, type=f"DATA_TYPE_{kind}")
    if kind == "BOOL":
        info.domain_discrete.extend([False, True])
    # TensorBoard shows five columns, and those first of which it knows that they differ between runs. tensorboardX does
    # not know this field, number 7, a bool.
    return HParamInfo.FromString(info.SerializeToString() + (b"\x38\x01" if first else b""))


def _value(name: str, content: Any) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    data = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    return Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=data))
