"""The interface of whatever takes logged numbers: one method is a must."""

from collections.abc import Mapping, Sequence

Setting = str | int | float | bool | None


class Sink:
    """Takes the numbers that `Monitor(sinks)` or `TensorBoard(sinks=...)` log.

    `scalars` must be overridden; what is left out of the rest is ignored. Calls come from the thread that trains,
    between two steps, so a slow sink slows training down. An `OSError` (which every network and disk error of Python's
    library is) never ends training: it is warned about once per `fit`, what the call carried is lost for this sink, and
    the next call is tried again; a sink whose `open` raises one is left out of that `fit`. Any other exception is taken
    for a bug and ends training.

    The same sink can serve one `fit` after another: each begins with `open` and ends with `close`. A `fit` that ends by
    an exception does not close; the next `open` is preceded by that `close`.

    Example:

    ```python
    class Loudest(kopt.callbacks.Sink):
        def __init__(self):
            self.largest = {}

        def scalars(self, values, step):
            for tag, value in values.items():
                if tag.startswith("gradients_norm/") and value > self.largest.get(tag, (0.0, 0))[0]:
                    self.largest[tag] = (value, step)


    model.fit(x, y, callbacks=[kopt.callbacks.Monitor([loudest := Loudest()], gradients=10)])
    ```
    """

    def open(self, config: Mapping[str, Setting]) -> None:
        """Begins a `fit`.

        Args:
            config: What the run is made of, flat: `backend`, `keras`, `model`, `parameters`, `epochs`,
                `steps_per_epoch`, `optimizer`, `optimizer.<argument>`; nested configurations as JSON.
        """

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Takes the numbers of one moment.

        Args:
            values: By tag; each a float that may be NaN or infinite.
            step: Optimizer steps done. Does not decrease during a `fit`; equal for two calls that share no tag, or
                where an epoch ends without an optimizer step.
        """
        raise NotImplementedError(f"`{type(self).__name__}` must define `scalars(values, step)`.")

    def histogram(self, tag: str, edges: Sequence[float], counts: Sequence[float], step: int) -> None:
        """Takes a histogram.

        Args:
            tag: Such as `gradients/dense/kernel`.
            edges: Of the buckets, ascending: one more than there are buckets.
            counts: Elements in each bucket. The first and the last bucket are not empty, if any is.
            step: As for `scalars`.
        """

    def text(self, tag: str, text: str) -> None:
        """Takes a text that describes the run, after `open`: the tag `model_summary`."""

    def flush(self) -> None:
        """Sends on what is held back; called when an epoch ends. Does not wait for a network."""

    def close(self) -> None:
        """Ends a `fit`: sends what is left, and lets go of files and connections."""
