"""KerasTuner's mode of a chief and workers, as a worker of ours sees it."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import ParamSpec

_log = logging.getLogger(__name__)
P = ParamSpec("P")


def ends_with_chief(search: Callable[P, None]) -> Callable[P, None]:
    """Has the search of a worker end, not fail, where the chief no longer answers.

    A chief ends when all trials have ended and the workers that it knows have been told so: one that comes later finds
    nobody.
    """

    @functools.wraps(search)
    def ending(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            search(*args, **kwargs)
        except Exception as error:
            if not _is_gone(error):
                raise
            _log.warning("The chief of this search does not answer: the search is over, or the chief has died.")

    return ending


def _is_gone(error: Exception) -> bool:
    grpc = sys.modules.get("grpc")
    return grpc is not None and isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE
