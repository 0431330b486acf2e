"""Where the rules lie, by the settings alone: for commands on rule files, which need nothing else that may be missing or wrong.

Looked up in the order of `load`: secrets directory, environment, `detector.yaml`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.settings.fault import WrongSettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RULES = "rules"
_NAME = "DETECTOR_RULES"


def find_rules_path(environ: Mapping[str, str] | None = None) -> Path:
    """DETECTOR_RULES, else `rules:` of `detector.yaml`, else ./rules. Raises WrongSettingsError where that file cannot be read."""
    environ = os.environ if environ is None else environ
    for name in ("DETECTOR_SECRETS_DIR", "CREDENTIALS_DIRECTORY"):
        file = Path(environ.get(name) or os.devnull) / _NAME
        if file.is_file():
            return Path(file.read_text().strip() or DEFAULT_RULES)
    if environ.get(_NAME):
        return Path(environ[_NAME])
    named = environ.get("DETECTOR_CONFIG")
    config = Path(named or "detector.yaml")
    return _read(config) if named or config.is_file() else Path(DEFAULT_RULES)


def _read(config: Path) -> Path:
    import yaml  # noqa: PLC0415  most have no such file, and the start of a command is budgeted

    try:
        content = yaml.safe_load(config.read_text())
    except OSError as error:
        raise WrongSettingsError([f"{config} cannot be read: {error.strerror}"]) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise WrongSettingsError([f"{config} is not valid YAML"]) from None
    rules = content.get("rules") if isinstance(content, dict) else None
    if rules is not None and not isinstance(rules, str):
        raise WrongSettingsError([f"{config}: rules must be a path"])
    return Path(rules or DEFAULT_RULES)
