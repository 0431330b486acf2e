"""Where settings lie, and what `detector.yaml` holds. What is wrong with it is one line that quotes nothing: it may be secret.

Before it: `source`, which wants all settings, or `place`, which wants one. After it: what YAML made of the text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.settings.fault import WrongSettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_secret_directories(environ: Mapping[str, str]) -> list[Path]:
    """The directories to read, the one that wins first."""
    return [Path(environ[name]) for name in ("DETECTOR_SECRETS_DIR", "CREDENTIALS_DIRECTORY") if environ.get(name)]


def find_config_file(environ: Mapping[str, str]) -> Path | None:
    """$DETECTOR_CONFIG, else `detector.yaml` of the working directory where it exists."""
    if named := environ.get("DETECTOR_CONFIG"):
        return Path(named)
    default = Path("detector.yaml")
    return default if os.path.lexists(default) else None


def read_file(path: Path) -> object:
    """The content, None for an empty file. Raises WrongSettingsError."""
    import yaml  # noqa: PLC0415  most have no such file, and the start of a command is budgeted

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        fault = f"{path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        fault = f"{path} is not UTF-8 text"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        fault = f"{path}{f':{mark.line + 1}:{mark.column + 1}' if mark else ''} is not valid YAML"
    except (ValueError, AttributeError, RecursionError):  # PyYAML makes values of what only looks like a date or a number
        fault = f"{path} holds a date, a number or a nesting that cannot be read; quote what is text"
    raise WrongSettingsError([fault])
