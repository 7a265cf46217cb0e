"""The image and the compose file: linted, of the same processes as the launcher, with settings that somebody reads."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import yaml

from deploy.launcher.configuration import secret_names
from deploy.launcher.processes import DATABASES, MODULES, STACK
from services.chassis.callers import PROCESSES
from services.chassis.settings import names_of

FOLDER = Path(__file__).parents[2] / "deploy" / "container"
TOOLS = Path(sys.executable).parent
ENGINES = {"postgres"}  # which the launcher leaves to others
STEPS = {"certs", "migrate", "envoy-config", "operator"}
ROWS = {row.name: row for row in STACK}
# What other programs than ours read.
FOREIGN = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "VALKEY_PASSWORD"}
FROM_ENV = re.compile(r"\$\{([A-Z0-9_]+)")
TOLD = re.compile(r"^#?([A-Z0-9_]+)=", re.MULTILINE)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


BASE, SANDBOX = read("compose.yaml"), read("compose.sandbox.yaml")
SERVICES: dict[str, dict[str, Any]] = BASE["services"]


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """Each service's environment, of both files."""
    for each in (BASE, SANDBOX):
        for name, service in each["services"].items():
            yield name, service.get("environment", {})


def fields_of(name: str) -> dict[str, Any]:
    """The fields of a process's settings, by every environment name."""
    kind = resolve_name(ROWS[name].settings)
    return {spelling: field for own, field in kind.model_fields.items() for spelling in names_of(own, field)}


def lint(*words: str) -> str:
    tool = TOOLS / words[0]
    if not tool.exists():
        pytest.skip(f"{words[0]} is not installed here")
    done = subprocess.run([str(tool), *words[1:]], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_containerfile_is_clean() -> None:
    assert lint("hadolint", str(FOLDER / "Containerfile")) == ""


@pytest.mark.parametrize("name", ["compose.yaml", "compose.sandbox.yaml"])
def test_the_compose_file_is_one(name: str) -> None:
    assert lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / name)) == ""


def test_compose_has_the_processes_of_the_launcher() -> None:
    assert set(SERVICES) | set(SANDBOX["services"]) == set(ROWS) | ENGINES | STEPS


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_process_of_ours_is_served_as_nobody_on_a_root_that_is_read_only(name: str) -> None:
    service = {**SANDBOX["services"], **SERVICES}[name]

    assert service["command"] == ["serve", name]
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
    assert "healthcheck" in service


def test_every_service_but_the_database_is_as_restricted() -> None:
    open_ones = [name for name, service in SERVICES.items() if not service.get("read_only") or "user" not in service]

    assert open_ones == ["postgres"]


def test_every_name_that_compose_sets_is_a_setting() -> None:
    known = {spelling for name in ROWS if ROWS[name].settings for spelling in fields_of(name)}
    unknown = {(name, key) for name, given in environments() for key in given if key not in known | FOREIGN}

    assert unknown == set()


def test_a_process_is_given_the_settings_of_its_own_class_alone() -> None:
    common = set(fields_of("share"))  # which has no secrets of its own
    strange = {
        (name, key)
        for name, given in environments()
        if name in MODULES
        for key in given
        if key not in fields_of(name) and key not in common
    }

    assert strange == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_process_is_given_no_secret_of_another_and_each_of_its_own(name: str) -> None:
    """The launcher deals secrets in the same way."""
    kinds = [resolve_name(row.settings) for row in STACK if row.settings]
    secrets = {each for each in secret_names(kinds) if not each.endswith("_FILE")} | {"DATABASE_URL", "REDIS_URL"}
    given = {key for service, variables in environments() if service == name for key in variables}
    given |= {"KIE_WEBHOOK_HMAC_KEY"} if name == "sandbox" else set()  # of what it may sign nothing depends

    assert given & secrets <= ROWS[name].secrets
    # Aliases are other spellings of a field that is given.
    fields = fields_of(name)
    named = [fields[key] for key in given & set(fields)]
    assert [key for key in ROWS[name].secrets & secrets & set(fields) if fields[key] not in named] == []


def test_the_database_is_migrated_before_a_service_that_has_one_starts() -> None:
    waited = {name: SERVICES[name]["depends_on"].get("migrate", {}).get("condition") for name in DATABASES}

    assert waited == dict.fromkeys(DATABASES, "service_completed_successfully")
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_each_process_sees_its_own_key_and_only_the_first_step_the_authoritys() -> None:
    mounts = {
        name: {volume.split(":")[0] for volume in service.get("volumes", [])} for name, service in SERVICES.items()
    }
    readers = {process: {name for name in mounts if f"certs-{process}" in mounts[name]} for process in PROCESSES}

    assert {name for name, volumes in mounts.items() if "authority" in volumes} == {"certs"}
    assert readers == {
        process: {"certs", process} | ({"envoy-config"} if process == "envoy" else set()) for process in PROCESSES
    }


def test_the_image_has_a_folder_of_its_user_wherever_a_step_writes() -> None:
    """A new volume takes the owner of the folder on which it is mounted."""
    written = {
        volume.split(":")[1] for name in ("certs", "envoy-config", "storage") for volume in SERVICES[name]["volumes"]
    }
    image = (FOLDER / "Containerfile").read_text(encoding="utf-8")

    assert [path for path in written - {"/certs"} if not re.search(rf"\s{path[1:]}[\s;]", image)] == []


def test_nothing_is_published_beyond_this_machine_unless_asked() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert list(published) == ["envoy"]
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in published["envoy"])


def test_the_example_names_what_compose_asks_for() -> None:
    asked = set(FROM_ENV.findall((FOLDER / "compose.yaml").read_text(encoding="utf-8")))
    told = set(TOLD.findall((FOLDER / "example.env").read_text(encoding="utf-8")))

    assert told - asked == set()
    assert {
        name for name in asked - told if not re.match(r"KAWAII_IMAGE|KIE_.*_[2-5]|KIE_WEBHOOK_HMAC_KEY_P", name)
    } == set()
