"""Configures the processes: problems of their settings, what all inherit, and the secrets that each alone needs."""

import os
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from pkgutil import resolve_name

from pydantic import SecretStr, ValidationError
from pydantic_settings import DotEnvSettingsSource

from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import ListenPort, port_of
from services.chassis.settings import IN_A_FILE, CommonSettings, names_of, problems

INHERITED = {
    # glibc gives every thread its own heap otherwise, which costs each process some ten megabytes.
    "MALLOC_ARENA_MAX": "2",
    # Docstrings are for readers: left out, each process keeps some five megabytes less.
    "PYTHONOPTIMIZE": "2",
    # Columns of each instruction: traces do without, and three megabytes of the stack. The Makefile compiles so, too.
    "PYTHONNODEBUGRANGES": "1",
    # We have none; looking for them loads the metadata of every installed package.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}
UNWANTED = ("PYTHONDONTWRITEBYTECODE",)  # without byte code every restart compiles every library again

DATABASE, CACHE = "DATABASE_URL", "REDIS_URL"  # URLs may hold passwords


def adopt(settings: LauncherSettings) -> None:
    """Put the stack's additions in force in this process, for itself and for its children."""
    overrides = settings.overrides()
    for name in (*UNWANTED, *(f"{name}_FILE" for name in overrides)):
        os.environ.pop(name, None)
    os.environ.update(INHERITED | overrides | ({"LOG_FORMAT": "text"} if speaks_text(settings) else {}))


def speaks_text(settings: LauncherSettings) -> bool:
    """Whether people read our log: text on a terminal, else JSON, unless LOG_FORMAT says otherwise."""
    return (settings.log_format or ("text" if sys.stderr.isatty() else "json")) == "text"


def secret_names(kinds: Collection[type[CommonSettings]]) -> frozenset[str]:
    """The variables whose values only these processes may know, and those that name a file of such a value."""
    fields = [pair for kind in kinds for pair in kind.model_fields.items()]
    names = [name for own, field in fields if field.annotation is SecretStr for name in names_of(own, field)]
    return frozenset(spelling for name in names for spelling in (name, f"{name}_FILE"))


def shared(secrets: Collection[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What every process inherits, once adopted: no secret of any; of URLs that may hold passwords only the scheme."""
    hidden = {*secrets, DATABASE, f"{DATABASE}_FILE", CACHE, f"{CACHE}_FILE"}
    in_files = {name: IN_A_FILE for name in (DATABASE, CACHE) if environment.get(f"{name}_FILE")}
    given = {name: scheme_of(url) for name in (DATABASE, CACHE) if (url := environment.get(name))}
    return {name: value for name, value in environment.items() if name not in hidden} | in_files | given


def own(names: Collection[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Those of these variables that are set."""
    return {name: environment[name] for name in names if name in environment}


def scheme_of(url: str) -> str:
    """What a process may know of a URL that is not for it: the scheme; a word like `none` is no secret."""
    scheme, colon, _ = url.partition("://")
    return scheme + colon


def complaint(kind: type[CommonSettings]) -> str:
    """What is wrong with one class's settings, one problem a line; the heading is the same for all classes."""
    try:
        kind()
    except ValidationError as error:
        return problems(error)
    except OSError as error:
        return f"A secret file cannot be read: {error.filename}: {error.strerror}"
    return ""


def port_complaint(settings: LauncherSettings) -> str:
    """Which public port is an internal one of the whole stack too, in one line; empty when none is."""
    internal = {port_of(listener, settings.internal_port_base) for listener in ListenPort}
    given = {"PORT": settings.port, "PUBLIC_HTTP_PORT": settings.public_http_port}
    if taken := [name for name, port in given.items() if port in internal]:
        rest = f"{min(internal)} to {max(internal)}: choose another, or another INTERNAL_PORT_BASE"
        return f"  {' and '.join(taken)} is one of the internal ports, {rest}"
    return ""


def folder_complaint(setting: str, folder: Path) -> str:
    """Why nothing can be written into a folder, which need not exist yet, in one line; empty when it can."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ""
    return f"  {setting}: {there} is {'not ours to write into' if there.is_dir() else 'no folder'}"


def unknown_names(kinds: Collection[type[CommonSettings]]) -> dict[str, str]:
    """The names in .env that no setting has, each with the most similar one that exists, or an empty string."""
    known = {name for kind in kinds for own, field in kind.model_fields.items() for name in names_of(own, field)}
    given = map(str.upper, DotEnvSettingsSource(CommonSettings).env_vars)
    strange = [name for name in given if name.removesuffix("_FILE") not in known and name not in known]
    return {name: next(iter(get_close_matches(name, known, 1)), "") for name in strange}


def public_tls_complaint(settings: LauncherSettings) -> str:
    """What is wrong with the files of PUBLIC_TLS_CERT and PUBLIC_TLS_KEY, in one line; empty without them."""
    if settings.public_tls_cert is None or settings.public_tls_key is None:
        return ""
    check = resolve_name("services.chassis.certificate_files:check_public")  # 2 MB, only for who has HTTPS
    try:
        check(settings.public_tls_cert, settings.public_tls_key, "PUBLIC_TLS_CERT", "PUBLIC_TLS_KEY")
    except ValueError as error:
        return str(error)
    return ""
