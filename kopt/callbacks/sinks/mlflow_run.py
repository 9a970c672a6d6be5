"""A run of MLflow, through its client and in the background."""

import atexit
import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from kopt._core import checks
from kopt.callbacks.sinks.sender import Sender
from kopt.callbacks.sinks.sink import Sink

_METRICS_PER_CALL, _PARAMETERS_PER_CALL, _LONGEST = 1000, 100, 500  # MLflow's limits.


class MLflow(Sink):
    """Logs into a run of MLflow: numbers as metrics, the configuration as parameters, texts as artifacts.

    Needs the package `mlflow` or its small form `mlflow-skinny`. Numbers go out about once a second in `log_batch`
    calls of a thread of its own, so that a slow server does not slow training down; MLflow's client repeats calls that
    fail, for as long as its `MLFLOW_HTTP_REQUEST_*` variables say. When `fit` ends, this waits for a server that does
    not answer for up to 10 seconds.

    If a run is active (`mlflow.start_run()`) when `fit` begins, that run is used and left open. Otherwise a run is
    created, and ended when `fit` ends; a second `fit` goes on with it. It does not become MLflow's active run: its id
    is `run_id`. A `fit` that ends by an exception leaves its run open for the next one, or as failed when Python exits.

    A run that is gone on with (`run_id=`) gets no parameter and no step of a metric that it already has. Histograms are
    left out: MLflow has none. Where one tag is the beginning of another, as `learning_rate` is of
    `learning_rate/<group>`, the longer one is written with a dot, `learning_rate.<group>`, since MLflow's file store
    takes the first for a file and the second for its directory.

    Attributes:
        run_id: Of the run; None until there is one, which is within a second of the first number.

    Args:
        experiment: Its name; made if there is none. By default MLflow's active one.
        run_name: Name for a run that this creates; MLflow invents one by default.
        run_id: A run to go on with.
        tracking_uri: Of the server or store; by default MLflow's own setting. For a directory MLflow
            3.17 wants `MLFLOW_ALLOW_FILE_STORE=true` in the environment; for `sqlite:///` it needs the packages
            `sqlalchemy` and `alembic`, which `mlflow` brings and `mlflow-skinny` does not.
        tags: Tags of the run, strings by name.

    Raises:
        ImportError: MLflow is not installed.
        ValueError: MLflow does not accept `tracking_uri`, or an argument is of the wrong type.

    Example:

    ```python
    sink = kopt.callbacks.MLflow("digits", tracking_uri="http://localhost:5000")
    model.fit(x, y, callbacks=[kopt.callbacks.Monitor([sink])])
    ```
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        run_name: str | None = None,
        run_id: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise ImportError(
                "`MLflow` needs the package `mlflow-skinny` or `mlflow`: pip install mlflow-skinny"
            ) from error
        self._mlflow: Any = mlflow
        self._error = mlflow.exceptions.MlflowException
        self.run_id = self._given = checks.optional(checks.text, "run_id", run_id)
        self._experiment = checks.optional(checks.text, "experiment", experiment)
        self._run_name = checks.optional(checks.text, "run_name", run_name)
        self._uri = checks.optional(checks.text, "tracking_uri", tracking_uri)
        if tags is not None and not isinstance(tags, Mapping):
            raise checks.fail("tags", "a dict of strings", tags)
        self._tags = dict(tags or {})
        self._client = self._new_client()
        self._sender: Sender | None = None
        self._config: Mapping[str, Any] = {}
        self._is_begun = self._is_ours = False
        self._created: str | None = None
        self._status = "FINISHED"
        self._last_steps: dict[str, int | None] = {}

    def __repr__(self) -> str:
        return f"MLflow({self._client.tracking_uri!r})"

    def open(self, config: Mapping[str, Any]) -> None:
        self._client = self._new_client()
        active = self._mlflow.active_run()
        elsewhere = self._client.tracking_uri != self._mlflow.get_tracking_uri()
        of_user = None if active is None or elsewhere else active.info.run_id
        self.run_id = self._given or of_user or self._created
        self._is_ours = self.run_id is None or self.run_id != of_user
        self._config, self._is_begun, self._status = config, False, "FINISHED"
        errors = (self._error, OSError, ImportError)  # Artifact stores import their client late.
        self._sender = Sender(self._send, self._end, errors)
        self._sender.put([None])  # Has the run created, also for a fit that ends before its first number.
        atexit.register(self._abandon)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        if self._sender is not None:
            metric, now = self._mlflow.entities.Metric, int(1000 * time.time())
            names = metric_names(values)
            self._sender.put([metric(names[tag], float(value), now, step) for tag, value in values.items()])

    def text(self, tag: str, text: str) -> None:
        if self._sender is not None:
            self._sender.put([(tag, text)])

    def flush(self) -> None:
        if self._sender is not None:
            self._sender.flush()

    def close(self) -> None:
        if self._sender is not None:
            atexit.unregister(self._abandon)
            sender, self._sender = self._sender, None
            sender.close()

    def _abandon(self) -> None:
        """Ends the run of a `fit` that ended by an exception, when Python exits."""
        self._status = "FAILED"
        with contextlib.suppress(OSError):
            self.close()

    def _new_client(self) -> Any:
        try:
            return self._mlflow.MlflowClient(tracking_uri=self._uri)
        except self._error as error:
            raise checks.fail("tracking_uri", "one that MLflow accepts", self._uri, str(error).strip()) from error

    def _send(self, items: list[Any]) -> None:
        if not self._is_begun:
            self._begin()
        texts = [item for item in items if isinstance(item, tuple)]
        metrics = [item for item in items if item is not None and not isinstance(item, tuple) and self._is_new(item)]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])
        for tag, text in texts:
            self._client.log_text(self.run_id, text, f"{tag}.txt")

    def _begin(self) -> None:
        entities = self._mlflow.entities
        if self.run_id is None:
            run = self._client.create_run(self._experiment_id(), run_name=self._run_name)
            self.run_id = self._created = run.info.run_id
        else:
            run = self._client.get_run(self.run_id)
            if self._is_ours:
                self._client.update_run(self.run_id, status="RUNNING")
        self._last_steps = dict.fromkeys(run.data.metrics)
        tags = [entities.RunTag(name, str(value)) for name, value in self._tags.items()]
        new = [
            entities.Param(name, str(value)[:_LONGEST])
            for name, value in self._config.items()
            if name not in run.data.params
        ]
        self._client.log_batch(self.run_id, params=new[:_PARAMETERS_PER_CALL], tags=tags)
        for start in range(_PARAMETERS_PER_CALL, len(new), _PARAMETERS_PER_CALL):
            self._client.log_batch(self.run_id, params=new[start : start + _PARAMETERS_PER_CALL])
        self._is_begun = True

    def _experiment_id(self) -> str:
        # Where `mlflow.set_experiment` keeps its choice.
        chosen = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if self._experiment is None and chosen:
            return chosen
        name = self._experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id

    def _is_new(self, metric: Any) -> bool:
        if metric.key not in self._last_steps:
            return True
        if self._last_steps[metric.key] is None:
            history = self._client.get_metric_history(self.run_id, metric.key)
            self._last_steps[metric.key] = max((each.step for each in history), default=-1)
        return metric.step > self._last_steps[metric.key]

    def _end(self) -> None:
        if self._is_ours and self._is_begun:
            self._client.set_terminated(self.run_id, status=self._status)


def metric_names(tags: Iterable[str]) -> dict[str, str]:
    """Returns MLflow's name of each tag: allowed characters, and none the beginning of another's path."""
    known = set(tags)
    names = {}
    for tag in known:
        first, *rest = tag.split("/")
        name = path = first
        for part in rest:
            name += ("." if path in known else "/") + part
            path += f"/{part}"
        names[tag] = re.sub(r"[^\w./: -]", "_", name)
    return names
