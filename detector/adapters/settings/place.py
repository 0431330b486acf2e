"""Where the rules lie, by the settings alone: for commands on rule files, which need nothing else that may be missing or wrong.

Looked up in the order of `load`: secrets directory, environment, `detector.yaml`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.settings.fault import WrongSettingsError
from detector.adapters.settings.file import find_config_file, find_secret_directories, read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RULES = "rules"
_NAME = "DETECTOR_RULES"


def find_rules_path(environ: Mapping[str, str] | None = None) -> Path:
    """DETECTOR_RULES, else `rules:` of `detector.yaml`, else ./rules. Raises WrongSettingsError where that file cannot be read."""
    environ = os.environ if environ is None else environ
    for directory in find_secret_directories(environ):
        file = directory / _NAME
        if file.is_file():
            return Path(file.read_text().strip() or DEFAULT_RULES)
    if environ.get(_NAME):
        return Path(environ[_NAME])
    config = find_config_file(environ)
    return Path(DEFAULT_RULES) if config is None else _read(config)


def _read(config: Path) -> Path:
    content = read_file(config)
    rules = content.get("rules") if isinstance(content, dict) else None
    if rules is not None and not isinstance(rules, str):
        raise WrongSettingsError([f"{config}: rules must be a path"])
    return Path(rules or DEFAULT_RULES)
