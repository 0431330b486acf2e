"""Loads the settings: joins the sources in their order and tells every fault at once.

A file of the secrets directory beats the environment, the environment beats `detector.yaml`, that beats the defaults.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from detector.adapters.settings.fault import WrongSettingsError, describe_errors
from detector.adapters.settings.file import find_config_file, find_secret_directories
from detector.adapters.settings.model import Settings
from detector.adapters.settings.source import (
    PREFIX,
    FileValues,
    NamedValues,
    Path_,
    Shape,
    name_path,
    read_secret_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_settings import PydanticBaseSettingsSource


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check everything; raises WrongSettingsError with one line for each fault."""
    environ = os.environ if environ is None else environ
    shape = Shape(Settings)
    faults: list[str] = []
    sources: list[NamedValues | FileValues] = []
    for directory in find_secret_directories(environ):
        secrets, unread = read_secret_files(directory)
        faults += unread
        sources.append(NamedValues(Settings, secrets, shape, where=str(directory)))
    named = {name: text for name, text in environ.items() if name.upper().startswith(PREFIX)}
    sources.append(NamedValues(Settings, named, shape))
    sources.append(FileValues(Settings, find_config_file(environ), shape))
    for source in sources:
        faults += source.faults
    loader = _bind(tuple(sources))
    try:
        settings = loader()
    except ValidationError as error:
        faults += describe_errors(
            error, lambda path: _name_origin(path, sources), {group for source in sources for group in source.misspelt}
        )
        raise WrongSettingsError(dict.fromkeys(faults)) from None
    if faults:
        raise WrongSettingsError(dict.fromkeys(faults))
    return settings


def _bind(sources: tuple[PydanticBaseSettingsSource, ...]) -> type[Settings]:
    class Bound(Settings):
        @classmethod
        def settings_customise_sources(cls, *_: object, **__: object) -> tuple[PydanticBaseSettingsSource, ...]:
            return sources

    Bound.__name__ = Bound.__qualname__ = Settings.__name__
    return Bound


def _name_origin(path: Path_, sources: list[NamedValues | FileValues]) -> str:
    """How the user wrote the setting at `path`: the source that won, or its environment name where it is missing."""
    for length in range(len(path), 0, -1):
        for source in sources:
            if (origin := source.origins.get(path[:length])) is not None:
                return origin
    return name_path(path)
