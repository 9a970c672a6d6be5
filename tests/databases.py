"""A real PostgreSQL of a test's own, started and stopped by it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

BINARIES = [Path("/usr/local/bin"), Path("/usr/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def postgres_missing():
    """Returns why there can be no PostgreSQL here; "" if there can."""
    if _binary("initdb") is None or _binary("postgres") is None:
        return "PostgreSQL's server is not installed"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return ""


def _binary(name):
    found = shutil.which(name)
    places = [folder / name for folder in BINARIES if (folder / name).exists()]
    return found or next(map(str, places), None)


class Postgres:
    """A server in a temporary directory, on a port of its own; it is stopped, and its files deleted, at the end."""

    def __enter__(self):
        reason = postgres_missing()
        if reason:
            pytest.skip(reason)
        self.directory = Path(tempfile.mkdtemp(prefix="kopt-postgres-"))
        self._as = []
        if os.getuid() == 0:
            os.chown(self.directory, 65534, 65534)
            self._as = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        data = str(self.directory / "data")
        self._call(_binary("initdb"), "-D", data, "-U", "kopt", "-A", "trust", "--no-sync")
        self._server = None
        self.start()
        return self

    def start(self):
        """Starts the server and waits until it answers."""
        data, sockets = str(self.directory / "data"), str(self.directory)
        command = [_binary("postgres"), "-D", data, "-p", str(self.port), "-k", sockets, "-h", "127.0.0.1"]
        self._server = subprocess.Popen(
            [*self._as, *command, "-F"], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        import psycopg

        end = time.monotonic() + 60
        while time.monotonic() < end:  # Its port is open before it is ready.
            try:
                psycopg.connect(host="127.0.0.1", port=self.port, user="kopt", dbname="postgres").close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)

    def stop(self):
        """Stops the server at once, as a crash would."""
        self._server.send_signal(3)  # SIGQUIT: "immediate shutdown".
        self._server.wait()

    def _call(self, *command):
        subprocess.run([*self._as, *command], check=True, capture_output=True, cwd="/")

    @property
    def address(self):
        """What `storage=` is."""
        return f"postgresql://kopt@127.0.0.1:{self.port}/postgres"

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis:
    """A Redis server that keeps nothing on disk, on a port of its own."""

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _await(self.port)
        return self

    @property
    def address(self):
        """What `storage=` is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __exit__(self, *_):
        self._server.terminate()
        self._server.wait()


def _await(port):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.1)
