"""One core and one thread for a benchmark, and the versions that it ran with."""

import importlib.metadata
import os
import platform
import threading
import time

BACKENDS = ("tensorflow", "jax", "torch")
GIVEN_UP = 75
PACKAGES = ("keras-kopt", "keras", "tensorflow", "jax", "torch", "numpy")


def pin(core: int | None) -> None:
    """Binds this process and its children to one core: `core`, or the last one that is allowed.

    Systems without core affinity (macOS, Windows) are left as they are.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})


def end_after(seconds: float) -> threading.Event:
    """Ends this process with the exit code `GIVEN_UP` after that much CPU time, unless the event is set before.

    A compiler cannot be interrupted from Python. The system's own limit (RLIMIT_CPU) is of no use here: while it is
    set, Linux counts the process' CPU time in steps of 4 ms.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            if time.process_time() > seconds:
                os._exit(GIVEN_UP)

    threading.Thread(target=watch, daemon=True).start()
    return done


def environment(backend: str) -> dict[str, str]:
    """Returns the environment of a child process that runs `backend` on the CPU with one thread."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    return {
        **os.environ,
        **one,
        "TF_NUM_INTEROP_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONHASHSEED": "0",
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
