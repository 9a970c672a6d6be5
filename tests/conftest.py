"""Settings that must hold before Keras is imported, and a fresh Keras for every test."""

import atexit
import os
import shutil
import signal
import tempfile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What runs in the background of a shell ignores SIGINT, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Two pytest-xdist workers share two cores, and jobs in CI have no more.
for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")
if os.environ["KERAS_BACKEND"] == "jax":
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2".strip()
    # Tests and workers ask for the same programs again, and again after they were thrown away: a third of JAX' time.
    # The folder is new in each run and goes with it, so no run sees what another version compiled.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        programs = tempfile.mkdtemp(prefix="kopt-programs-")
        atexit.register(shutil.rmtree, programs, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

import itertools  # noqa: E402
import zlib  # noqa: E402
from pathlib import Path  # noqa: E402

import keras  # noqa: E402
import pytest  # noqa: E402

MAPPINGS = 30_000  # Linux allows a process 65,530.
tests_run = itertools.count(1)


def _limit_tensorflow() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)


def _limit_torch() -> None:
    import torch

    torch.set_num_threads(1)


{"tensorflow": _limit_tensorflow, "torch": _limit_torch}.get(keras.backend.backend(), lambda: None)()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Gives each test the same seeds, and names that count from nothing."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    assert keras.config.floatx() == "float32", "A test must put floatx back."
    assert keras.config.dtype_policy().name == "float32", "A test must put the dtype policy back."


@pytest.fixture(autouse=True, scope="class")
def few_programs():
    """Throws JAX's compiled programs away when there are many: each keeps several mappings of memory for good."""
    yield
    maps = Path("/proc/self/maps")
    if keras.backend.backend() == "jax" and next(tests_run) % 5 == 0 and maps.exists():
        import jax

        if maps.read_bytes().count(b"\n") > MAPPINGS:
            jax.clear_caches()


LONGEST = ("test_recipes", "test_parity", "test_batch_statistics", "test_scheduled")


@pytest.hookimpl(tryfirst=True)  # Before `-m` looks at the marks.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that at the end no process works on one alone, and spares those that compile.

    Of the pairs of a test in the contract and an optimizer, TensorFlow is asked one half and JAX the other, unless the
    slow ones run too. PyTorch is asked all.
    """
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
    spared = {"tensorflow": 1, "jax": 0}.get(keras.backend.backend())
    for item in items:
        if item.path.stem == "test_contract" and zlib.crc32(item.nodeid.encode()) % 2 == spared:
            item.add_marker(pytest.mark.slow)


def pytest_report_header() -> str:
    return f"keras {keras.__version__} on {keras.backend.backend()}"
