"""Starts a real S3 server for the contract tests: Ceph's, else moto's, whose signatures and disks are pretended."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.engines import EngineMissingError
from tests.support.polling import until
from tests.support.ports import free_port

START_SECONDS = 60.0  # a busy machine; Ceph takes a second and a half on an idle one
STOP_SECONDS = 10.0
CEPH_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "ceph-authtool")
ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
CEPH_CONF = """[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{old_mon}]
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
keyring = {folder}/kr
run_dir = {folder}/run
admin_socket = {folder}/run/$cluster-$name.asok
log_file = {folder}/log/$name.log
[mon.a]
mon_data = {folder}/mon
[osd.0]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
[client]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_data = {folder}/rgw
rgw_dns_name = localhost
"""


@dataclass(frozen=True)
class S3Server:
    """A running server; `kind` is ceph or moto, for the few tests that only a real one can pass."""

    kind: str
    port: int
    folder: Path
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def endpoint(self) -> str:
        """Where it listens, as STORAGE_S3_ENDPOINT takes it."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """A boto3 client with all rights."""
        import boto3  # noqa: PLC0415 - half a second that tests without S3 need not wait
        from botocore.config import Config  # noqa: PLC0415

        config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **keys)

    def create_bucket(self) -> str:
        """Make an empty bucket; returns its name."""
        name = f"test-{secrets.token_hex(6)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def admin(self, *words: str) -> None:
        """Tell Ceph's gateway something about its users."""
        ceph(self.folder, "radosgw-admin", *words)


@contextmanager
def s3() -> Iterator[S3Server]:
    """Run a server in a folder of its own until the context ends.

    Raises:
        EngineMissingError: neither Ceph nor moto is installed.
    """
    missing = [name for name in CEPH_PROGRAMS if not shutil.which(name)]
    start = ceph_server if not missing else moto_server
    if missing and importlib.util.find_spec("moto") is None:
        raise EngineMissingError(f"no S3 server: {missing[0]} (Debian's Ceph) and the wheel moto are missing")
    with tempfile.TemporaryDirectory(prefix="kawaii-s3-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        yield start(stack, Path(name))


def moto_server(stack: ExitStack, folder: Path) -> S3Server:
    """The pretended server: enough for the contract, not for rights and crashes."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    run(stack, folder, *command)
    until(lambda: answers_http(f"http://127.0.0.1:{port}"), START_SECONDS)
    return S3Server("moto", port, folder)


def ceph_server(stack: ExitStack, folder: Path) -> S3Server:
    """A monitor, a store in memory and the gateway; all of them ours, by their process ids.

    See docs/testing.md#engines.
    """
    port, fsid = free_port(), str(uuid.uuid4())
    mon, old_mon = free_port(), free_port()
    for part in ("mon", "osd", "run", "log", "rgw"):
        (folder / part).mkdir()
    conf = CEPH_CONF.format(fsid=fsid, mon=mon, old_mon=old_mon, port=port, folder=folder)
    (folder / "ceph.conf").write_text(conf, encoding="ascii")
    make_keys(folder, fsid, f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{old_mon}]")
    ceph(folder, "ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "kr")
    run(stack, folder, "ceph-mon", "-c", "ceph.conf", "-i", "a", "-f")
    start_store(stack, folder)
    user = ("--uid=t", "--display-name=t", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
    ceph(folder, "radosgw-admin", "user", "create", *user)
    run(stack, folder, "radosgw", "-f", "-c", "ceph.conf", "-n", "client.admin")
    until(lambda: answers_http(f"http://127.0.0.1:{port}"), START_SECONDS)
    return S3Server("ceph", port, folder)


def make_keys(folder: Path, fsid: str, address: str) -> None:
    """The map of monitors and the keys of its users."""
    rights = ("--cap", "mon", "allow *")
    more = ("--cap", "osd", "allow *", "--cap", "mgr", "allow *")
    call(folder, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, "monmap")
    call(folder, "ceph-authtool", "--create-keyring", "kr", "--gen-key", "-n", "mon.", *rights)
    call(folder, "ceph-authtool", "kr", "--gen-key", "-n", "client.admin", *rights, *more)


def start_store(stack: ExitStack, folder: Path) -> None:
    """The one store, in memory."""
    identity = str(uuid.uuid4())
    ceph(folder, "ceph", "osd", "new", identity)
    rights = ("mon", "allow *", "osd", "allow *", "mgr", "allow *")
    (folder / "osd.key").write_bytes(ceph(folder, "ceph", "auth", "get-or-create", "osd.0", *rights))
    ceph(folder, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity, "--keyring", "osd.key")
    run(stack, folder, "ceph-osd", "-c", "ceph.conf", "-i", "0", "--keyring", "osd.key", "-f")


def ceph(folder: Path, program: str, *words: str) -> bytes:
    """Run one of Ceph's programs to its end."""
    return call(folder, program, "-c", "ceph.conf", *words)


def call(folder: Path, *command: str) -> bytes:
    """Run a program in the folder to its end; what it printed."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=START_SECONDS).stdout


def run(stack: ExitStack, folder: Path, *command: str) -> None:
    """Keep a program running until the stack unwinds."""
    log = stack.enter_context((folder / f"{Path(command[0]).name}.out").open("wb"))
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": ""})
    stack.callback(stop, process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program of ours, by force if it dawdles."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers_http(url: str) -> bool:
    """Whether an HTTP server answers there."""
    try:
        urllib.request.urlopen(f"{url}/", timeout=5).close()  # noqa: S310 - a server of the tests
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True
