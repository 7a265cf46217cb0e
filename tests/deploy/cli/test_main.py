"""The `kawaii` command as a person types it."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from kawaii.share.v1.share_pb2 import ListSharesRequest
from kawaii.share.v1.share_pb2_grpc import ShareServiceStub

from tests.support.certificates import Authority
from tests.support.ports import free_port

Kawaii = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def kawaii() -> Kawaii:
    """Run the command to its end."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = (sys.executable, "-m", "deploy.cli.main", *words)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)

    return run


def test_help_names_every_verb(kawaii: Kawaii) -> None:
    output = kawaii("--help").stdout

    assert all(f"\n  {verb} " in output for verb in ("up", "serve", "migrate", "config", "envoy", "version"))


def test_version_is_the_package_s(kawaii: Kawaii) -> None:
    assert kawaii("version").stdout.strip() == version("kawaii")


def test_config_check_names_problems_and_exits_2(kawaii: Kawaii) -> None:
    done = kawaii("config", "check", PORT="0", LOG_LEVEL="loud")

    assert done.returncode == 2
    assert "PORT:" in done.stderr
    assert "LOG_LEVEL:" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_URL", "pictures.example"),
        ("APP_URL", "https://pictures.example/?a=b"),
        ("STORAGE_PUBLIC_BASE_URL", "cdn.example"),
        ("DATABASE_URL", "mysql://host/kawaii"),
        ("REDIS_URL", "http://host:6379"),
        ("KIE_AI_BASE_URL", "api.kie.ai"),
    ],
)
def test_config_check_refuses_addresses_of_another_kind_without_showing_them(
    kawaii: Kawaii, name: str, value: str
) -> None:
    done = kawaii("config", "check", KIE_AI_API_KEY="a-key", **{name: value})

    assert done.returncode == 2
    assert f"  {name}: " in done.stderr
    assert value not in done.stderr


def test_config_check_refuses_a_public_port_among_the_internal_ones(kawaii: Kawaii) -> None:
    done = kawaii("config", "check", PORT="50055", INTERNAL_PORT_BASE="50050")

    assert done.returncode == 2
    assert "PORT is one of the internal ports, 50050 to 50064" in done.stderr


def test_config_check_refuses_a_data_folder_that_is_a_file(kawaii: Kawaii, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    done = kawaii("config", "check", DATA_DIR=str(tmp_path / "data" / "kawaii"))

    assert done.returncode == 2
    assert f"DATA_DIR: {tmp_path / 'data'} is no folder" in done.stderr


def test_config_check_names_what_no_setting_is_called(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KIE_AI_APY_KEY=secret\nAPP_URL_FILE=\nEDITOR_OF_MINE=vi\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = (sys.executable, "-m", "deploy.cli.main", "config", "check")
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=60, check=True
    )

    assert done.stdout == "ok\n"
    assert done.stderr == (
        ".env: no setting is called KIE_AI_APY_KEY. Did you mean KIE_AI_API_KEY?\n"
        ".env: no setting is called EDITOR_OF_MINE.\n"
    )


def test_config_check_looks_into_the_files_of_tls(kawaii: Kawaii, tmp_path: Path) -> None:
    authority = Authority.of(tmp_path / "certs")
    authority.issue("gateway")
    good = kawaii("config", "check", **authority.environment("gateway"))
    (authority.folder / "gateway.key").chmod(0o644)
    open_to_all = kawaii("config", "check", **authority.environment("gateway"))
    half = kawaii("config", "check", INTERNAL_TLS_CERT=str(authority.folder / "gateway.crt"))

    assert (good.returncode, open_to_all.returncode, half.returncode) == (0, 2, 2)
    assert "INTERNAL_TLS_KEY can be read or written by others" in open_to_all.stderr
    assert "INTERNAL_TLS_KEY and INTERNAL_TLS_CA must be set too" in half.stderr


def test_config_check_says_ok(kawaii: Kawaii) -> None:
    done = kawaii("config", "check")

    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_up_names_problems_before_anything_starts(kawaii: Kawaii) -> None:
    done = kawaii("up", PORT="0", TRUSTED_HOPS="many")

    assert done.returncode == 2
    assert "PORT:" in done.stderr
    assert "TRUSTED_HOPS:" in done.stderr
    assert done.stdout == ""


def test_envoy_render_writes_all_files_that_envoy_reads(kawaii: Kawaii, tmp_path: Path) -> None:
    authority = Authority.of(tmp_path / "certificates")
    authority.issue("envoy")
    folder, certificates = tmp_path / "envoy", authority.environment("envoy")
    written, printed = (kawaii("envoy", "render", *words, **certificates) for words in ([str(folder)], []))

    names = ("envoy.yaml", "internal-certificate.json", "internal-authority.json")
    assert sorted(written.stdout.split()) == sorted(str(folder / name) for name in names)
    assert printed.stdout == (folder / "envoy.yaml").read_text(encoding="utf-8")
    assert "kawaii envoy render FOLDER" in printed.stderr


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("GATEWAY_UPSTREAM", "gateway", "GATEWAY_UPSTREAM"),
        ("GATEWAY_UPSTREAM", "nowhere.invalid:50050", "GATEWAY_UPSTREAM: there is no host nowhere.invalid."),
        ("FILES_UPSTREAM", "a:1,a:1", "FILES_UPSTREAM"),
        ("INTERNAL_TLS_CERT", "gateway.crt", "INTERNAL_TLS_KEY is not the key"),
        ("PUBLIC_TLS_CERT", "gateway.crt", "PUBLIC_TLS_KEY must be set too"),
        ("PUBLIC_TLS_KEY", "gateway.key", "PUBLIC_TLS_CERT must be set too"),
    ],
)
def test_envoy_render_refuses_what_envoy_could_not_use(
    kawaii: Kawaii, tmp_path: Path, setting: str, value: str, sentence: str
) -> None:
    authority = Authority.of(tmp_path)
    for process in ("envoy", "gateway"):
        authority.issue(process)
    given = str(tmp_path / value) if value.startswith("gateway.") else value
    done = kawaii("envoy", "render", **(authority.environment("envoy") | {setting: given}))

    assert (done.returncode, done.stdout) == (78, "")
    assert sentence in done.stderr


def test_envoy_render_refuses_the_certificate_of_another_process(kawaii: Kawaii, tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    authority.issue("gateway")
    done = kawaii("envoy", "render", **authority.environment("gateway"))

    assert done.returncode == 78
    assert "envoy.kawaii.internal" in done.stderr


def test_envoy_render_prints_the_configuration_in_force(kawaii: Kawaii) -> None:
    assert "port_value: 8123" in kawaii("envoy", "render", PORT="8123").stdout


def test_serve_refuses_a_process_that_does_not_exist_and_names_those_that_do(kawaii: Kawaii) -> None:
    done = kawaii("serve", "payments")

    assert done.returncode == 78
    assert done.stderr == (
        "There is no process payments; there are gateway, storage, share, generation, community, sandbox.\n"
    )


def test_serve_becomes_the_process_where_the_settings_say(tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("LISTEN_PORT", "METRICS_PORT")}
    environment = {**os.environ, **ports, "DATA_DIR": str(tmp_path), "REDIS_URL": "none"}
    kawaii = (sys.executable, "-m", "deploy.cli.main")
    subprocess.run([*kawaii, "migrate"], env=environment, check=True, capture_output=True, timeout=60)
    with subprocess.Popen([*kawaii, "serve", "share"], env=environment) as share:
        with grpc.insecure_channel(f"127.0.0.1:{ports['LISTEN_PORT']}") as channel:
            stub = ShareServiceStub(channel)
            answer = stub.ListShares(ListSharesRequest(), timeout=30, wait_for_ready=True)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['METRICS_PORT']}/readyz", timeout=10) as response:
            word = response.read()
        share.terminate()

    assert (list(answer.shares), word, share.returncode) == ([], b"serving\n", 0)


def test_serve_refuses_a_port_that_another_holds(kawaii: Kawaii, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = kawaii("serve", "share", LISTEN_PORT=port, METRICS_PORT=str(free_port()), DATA_DIR=str(tmp_path))

    assert done.returncode == 78
    assert f"LISTEN_PORT: nothing can listen at 127.0.0.1:{port}: address already in use." in done.stderr
    assert list(tmp_path.iterdir()) == []
