"""The `kawaii` command as a person types it."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

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

    assert all(f"\n  {verb} " in output for verb in ("up", "migrate", "config", "envoy", "version"))


def test_version_is_the_package_s(kawaii: Kawaii) -> None:
    assert kawaii("version").stdout.strip() == version("kawaii")


def test_config_check_names_problems_and_exits_2(kawaii: Kawaii) -> None:
    done = kawaii("config", "check", PORT="0", LOG_LEVEL="loud")

    assert done.returncode == 2
    assert "PORT:" in done.stderr
    assert "LOG_LEVEL:" in done.stderr


def test_config_check_says_ok(kawaii: Kawaii) -> None:
    done = kawaii("config", "check")

    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_up_names_problems_before_anything_starts(kawaii: Kawaii) -> None:
    done = kawaii("up", PORT="0", TRUSTED_HOPS="many")

    assert done.returncode == 2
    assert "PORT:" in done.stderr
    assert "TRUSTED_HOPS:" in done.stderr
    assert done.stdout == ""


def test_envoy_render_prints_the_configuration_in_force(kawaii: Kawaii) -> None:
    assert "port_value: 8123" in kawaii("envoy", "render", PORT="8123").stdout
