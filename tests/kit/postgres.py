"""A real PostgreSQL of the tests' own: a new cluster in a temporary folder, fast instead of durable, one database a test."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.server import Server

ROLE = "detector"


def find_postgres() -> Path | None:
    """The folder with `postgres` and `initdb` (PATH, else Debian's newest), or None."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


class Postgres(Server):
    """A cluster; as a context manager it runs within the block and its folder is gone afterwards.

    PostgreSQL refuses root, so root starts it as `postgres`, or as `nobody` where there is no such user. The folder lies
    directly under the system's temporary one: pytest's own may be entered by nobody else, and a socket's path is short. `freeze`
    stops the postmaster alone: new sessions hang, existing ones go on.
    """

    def __init__(self, *, options: tuple[str, ...] = ()) -> None:
        binaries = find_postgres()
        assert binaries, "postgresql is not installed"
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="detector-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.user = _choose_user() if os.geteuid() == 0 else None
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        process = Process(
            [binaries / "postgres", "-D", self.data, *words, *options],
            log=self.folder / "postgres.log",
            cwd=self.folder,
            user=self.user,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions
        )
        super().__init__(process, self._can_be_asked)

    def __enter__(self) -> Self:
        try:
            self._create_cluster()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.process.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """The address of a database over TCP."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The address of a database over the unix socket."""
        return f"postgresql://{ROLE}@/{database}?host={self.folder}&port={self.port}"

    def create_database(self) -> str:
        """A new empty database; its name."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE template0", name)
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, ending the sessions that are left in it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, database: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database)))

    def _create_cluster(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user, pwd.getpwnam(self.user).pw_gid)
        initdb = Process(
            [
                self._binaries / "initdb",
                *("-D", self.data, "-U", ROLE, "-E", "UTF8"),
                *("--auth=trust", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            log=self.folder / "initdb.log",
            cwd=self.folder,
            user=self.user,
        )
        initdb.start()
        try:
            assert initdb.wait(seconds=60) == 0, f"initdb failed\n{initdb.read_log()}"
        except subprocess.TimeoutExpired:
            initdb.kill()
            raise

    def _can_be_asked(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


def _choose_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
