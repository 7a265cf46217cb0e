"""Loads every process's settings before anything starts, so that all problems are told at once."""

from collections.abc import Iterable
from pkgutil import resolve_name

from pydantic import ValidationError

from deploy.launcher.environment import adopt
from deploy.launcher.errors import ConfigurationError
from deploy.launcher.processes import SETTINGS
from deploy.launcher.settings import LauncherSettings
from services.chassis.settings import CommonSettings, problems


def settle(paths: Iterable[str] = SETTINGS) -> LauncherSettings:
    """Read our own settings, put what they add in force, and make sure that every process accepts its own.

    Raises:
        ConfigurationError: naming every problem once.
    """
    settings = None if complaint(LauncherSettings) else LauncherSettings()
    if settings:
        adopt(settings)  # the processes will see these additions, so their settings are judged with them
    found = dict.fromkeys(line for path in paths for line in complaint(resolve_name(path)).splitlines())
    if found or not settings:
        raise ConfigurationError("\n".join(found))
    return settings


def complaint(kind: type[CommonSettings]) -> str:
    """What is wrong with one class's settings, one problem a line; the heading is the same for all classes."""
    try:
        kind()
    except ValidationError as error:
        return problems(error)
    except OSError as error:
        return f"A secret file cannot be read: {error.filename}: {error.strerror}"
    return ""
