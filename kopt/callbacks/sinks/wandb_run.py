"""A run of Weights & Biases, through its own package."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kopt._core import checks
from kopt.callbacks.sinks.sink import Sink

_STEP = "optimizer_step"


class WandB(Sink):
    """Logs into a run of Weights & Biases: numbers, histograms, the configuration, and texts as media.

    Needs the package `wandb`, which sends in a process of its own. If a run is active (`wandb.init()`) when `fit`
    begins, that run is used and left open; otherwise one is begun, and finished when `fit` ends. A second `fit` asks
    W&B to go on with it. The x-axis of all charts is the number `optimizer_step`, so that W&B's own step stays free for
    what else the run logs. W&B itself does not take back or repeat steps: this sink does not look for old ones.

    Args:
        project: Its name.
        name: Of a run that this begins; W&B invents one by default.
        init: More keywords for `wandb.init`, such as `{"mode": "offline", "dir": "logs"}`.

    Raises:
        ImportError: W&B is not installed.
        ValueError: An argument is of the wrong type.

    Example:

    ```python
    sink = kopt.callbacks.WandB("digits", init={"mode": "offline"})
    model.fit(x, y, callbacks=[kopt.callbacks.Monitor([sink])])
    ```
    """

    def __init__(
        self, project: str | None = None, *, name: str | None = None, init: Mapping[str, Any] | None = None
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("`WandB` needs the package `wandb`: pip install wandb") from error
        self._wandb: Any = wandb
        self._project = checks.optional(checks.text, "project", project)
        self._name = checks.optional(checks.text, "name", name)
        if init is not None and not isinstance(init, Mapping):
            raise checks.fail("init", "a dict of keywords for `wandb.init`", init)
        self._init = dict(init or {})
        self._run: Any = None
        self._is_ours = False
        self._known: set[str] = set()

    def __repr__(self) -> str:
        return f"WandB({self._project!r})"

    def open(self, config: Mapping[str, Any]) -> None:
        self._known = set()
        self._run, self._is_ours = self._wandb.run, self._wandb.run is None
        if self._is_ours:
            keywords = {"project": self._project, "name": self._name} | self._init
            self._run = self._attempt(lambda: self._wandb.init(**keywords))
            self._init |= {"id": self._run.id, "resume": "allow"}
        known = set(self._run.config.keys())
        self._run.config.update({name: value for name, value in config.items() if name not in known})

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._log({tag: float(value) for tag, value in values.items()}, step)

    def histogram(self, tag: str, edges: Sequence[float], counts: Sequence[float], step: int) -> None:
        self._log({tag: self._wandb.Histogram(np_histogram=([*map(float, counts)], [*map(float, edges)]))}, step)

    def text(self, tag: str, text: str) -> None:
        self._attempt(lambda: self._run.log({tag: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")}))

    def close(self) -> None:
        run, self._run = self._run, None
        if run is not None and self._is_ours:
            self._attempt(run.finish)

    def _log(self, values: dict[str, Any], step: int) -> None:
        def log() -> None:
            for tag in values.keys() - self._known:
                self._run.define_metric(tag, step_metric=_STEP)
            self._known |= values.keys()
            self._run.log(values | {_STEP: step})

        self._attempt(log)

    def _attempt(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except self._wandb.Error as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
