"""Where the trials of a search are: what `storage=` may be, and how it is opened."""

import contextlib
import dataclasses
import importlib.util
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalRedisBackend
from sqlalchemy.engine import URL, make_url

from kopt._core import checks
from kopt.tuning.storage.journal import JournalFile, locked
from kopt.tuning.storage.passing import first_line, passes

JOURNAL = "journal"
FILE = "journal.log"
RULE = (
    'None, "journal", an address such as "sqlite:///search.db", "postgresql://user@host/database" or '
    '"redis://host:6379/0", or an optuna.storages.BaseStorage'
)
_SECONDS = 10  # To connect.
_SECRETS = ("password", "passwd", "sslpassword")
# SQLAlchemy's name of a driver, and the package.
_POSTGRES = {"psycopg2": "psycopg2", "psycopg": "psycopg", "pg8000": "pg8000"}
_log = logging.getLogger(__name__)


@dataclasses.dataclass
class Address:
    """Where the trials of a search are.

    Args:
        text: For people and for `project.json`: without passwords.
        url: Of a database, with the password.
        path: Of a journal, or of SQLite's database.
        given: A storage of the user's.
    """

    text: str
    url: URL | str | None = None
    path: Path | None = None
    given: BaseStorage | None = None

    @property
    def lock(self) -> Path | None:
        """The file to lock while something is written, if the storage does not lock well enough itself."""
        is_sqlite = self.url is not None and str(self.url).startswith("sqlite")
        return self.path.with_name(f"{self.path.name}.lock") if is_sqlite and self.path is not None else None

    def open(self) -> BaseStorage:
        """Returns the storage.

        Raises:
            ConnectionError: It cannot be reached.
            ImportError: The driver is not installed.
        """
        if self.path is not None and not self.path.parent.is_dir():
            raise self._unreachable(f"There is no directory {str(self.path.parent)!r}.")
        begin = time.monotonic()
        while True:
            try:
                return self._open()
            except Exception as error:
                # Two workers that begin at once both make the tables: the second one finds them made.
                is_race = isinstance(error, sqlalchemy.exc.IntegrityError | sqlalchemy.exc.ProgrammingError)
                if is_race and time.monotonic() - begin < _SECONDS:
                    time.sleep(0.2)
                    continue
                if not (passes(error) or is_race or isinstance(error, OSError)):
                    raise
                raise self._unreachable(first_line(error)) from error

    def _unreachable(self, why: str) -> ConnectionError:
        return ConnectionError(
            f"`storage` must be one that can be reached. Received: storage={self.text!r}. {why} No trial has begun."
        )

    def _open(self) -> BaseStorage:
        if self.given is not None:
            return optuna.storages.get_storage(self.given)
        if self.url is None:
            assert self.path is not None
            return JournalStorage(JournalFile(self.path))
        if isinstance(self.url, str):
            return _redis(self.url)
        return _database(self.url, self.lock)


def address_of(storage: Any, directory: Path) -> Address:
    """Returns what `storage=` says.

    Args:
        storage: The argument, not None.
        directory: Of the project.

    Raises:
        ValueError: It is nothing of the kind.
        ImportError: The driver is not installed.
    """
    if isinstance(storage, BaseStorage):
        return _given(storage)
    if not isinstance(storage, str) or not storage:
        raise checks.fail("storage", RULE, storage)
    if storage == JOURNAL:
        return Address(JOURNAL, path=directory / FILE)
    scheme, colon, rest = storage.partition("://")
    if not colon:
        raise checks.fail("storage", RULE, storage)
    if scheme == JOURNAL:
        path = Path(rest).resolve()
        return Address(f"journal://{path}", path=path)
    if scheme in ("redis", "rediss", "unix"):
        _needs("redis", storage.partition("@")[2] or storage, "redis")
        return Address(_without_password(storage), url=storage)
    try:
        url = make_url("postgresql" + storage[len("postgres") :] if scheme == "postgres" else storage)
    except sqlalchemy.exc.ArgumentError as error:
        raise checks.fail("storage", RULE, _without_password(storage)) from error
    return _of_database(url)


def _of_database(url: URL) -> Address:
    text = _shown(url)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            raise checks.fail("storage", "a database that other processes see, such as sqlite:///search.db", text)
        path = Path(str(url.database)).resolve()
        url = url.set(database=str(path))
        return Address(_shown(url), url=url, path=path)
    if url.drivername == "postgresql":
        found = [driver for driver, package in _POSTGRES.items() if importlib.util.find_spec(package)]
        if not found:
            _needs("psycopg", text, "psycopg[binary]")
        url = url.set(drivername=f"postgresql+{found[0]}")
    try:
        url.get_dialect().import_dbapi()
    except ImportError as error:
        raise ImportError(f"`storage={text!r}` needs a driver that is not installed: {error}.") from error
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise checks.fail("storage", RULE, text) from error
    return Address(text, url=url)


def _needs(package: str, text: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"`storage={text!r}` needs {package}: pip install '{what}'.")


def _given(storage: BaseStorage) -> Address:
    if isinstance(storage, optuna.storages.InMemoryStorage):
        raise checks.fail("storage", "one that other processes see", storage)
    if isinstance(storage, RDBStorage):
        found = _of_database(make_url(storage.url))
        return Address(found.text, url=found.url, path=found.path, given=storage)
    return Address(f"{type(storage).__name__}", given=storage)


def _shown(url: URL) -> str:
    bare = url._replace(password=None).difference_update_query(_SECRETS)
    return bare.render_as_string(hide_password=False)


def _without_password(text: str) -> str:
    scheme, colon, rest = text.partition("://")
    login, at, place = rest.rpartition("@")
    user = login.partition(":")[0]
    return f"{scheme}{colon}{user}{'@' if at and user else ''}{place.partition('?')[0]}"


def _database(url: URL, lock: Path | None) -> BaseStorage:
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        arguments = {"timeout": 60}
    elif url.drivername in ("postgresql+psycopg", "postgresql+psycopg2"):
        arguments = {"connect_timeout": _SECONDS}
    options = {"pool_pre_ping": True, "connect_args": arguments}
    with contextlib.nullcontext() if lock is None else locked(lock):
        made = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
    if url.get_backend_name() == "postgresql":
        sqlalchemy.event.listen(made.engine, "connect", _let_go)
        made.engine.dispose()  # Of the connections that were made before.
    return optuna.storages.get_storage(made)


def _let_go(connection: Any, _: Any) -> None:
    """Has PostgreSQL end the transaction of a worker that is not heard of in the middle of it: it holds locks."""
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.commit()


def _redis(url: str) -> BaseStorage:
    import redis

    with redis.Redis.from_url(url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS) as client:
        client.ping()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalRedisBackend(url, prefix="kopt"))
