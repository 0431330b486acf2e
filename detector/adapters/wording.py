"""Message templates of the house's own: a directory with `<channel>/<name>.j2`, read and checked once at the start.

Before it: the setting DETECTOR_TEMPLATES. After it: the channels, which take the texts in place of their shipped ones. A name is a
kind of notice, or one that the channel has beside them ("headline" in Slack, "name" on Statuspage, "monitoring" for stakeholders).
Mail has two folders: `email` for the people on call, `stakeholders` for the others, who get public facts only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

SLACK, EMAIL, STAKEHOLDERS, STATUSPAGE = "slack", "email", "stakeholders", "statuspage"
FOLDERS = (SLACK, EMAIL, STAKEHOLDERS, STATUSPAGE)
SUFFIX = ".j2"
_SETTING = "DETECTOR_TEMPLATES"


class Fault(Protocol):
    """What is wrong with a template, and the line inside it, from 1."""

    @property
    def line(self) -> int:
        """From 1."""

    @property
    def message(self) -> str:
        """In words."""


class WrongTemplateError(Exception):
    """The directory cannot be used; the message is one line."""


class TemplateFolder:
    """The templates under `directory`, None for none. `find_fault` says what is wrong with a text. Raises WrongTemplateError."""

    def __init__(self, directory: Path | None, find_fault: Callable[[str], Fault | None]) -> None:
        self._directory = directory
        self._find_fault = find_fault
        if directory is None:
            return
        try:
            found = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
        except OSError as error:
            raise WrongTemplateError(f"{_SETTING}: {directory} cannot be read as a directory: {error.strerror}") from None
        if wrong := [name for name in found if name not in FOLDERS]:
            raise WrongTemplateError(f"{_SETTING}: {directory / wrong[0]} is no channel's folder; there are {', '.join(FOLDERS)}")

    def read(self, folder: str, known: Collection[str]) -> dict[str, str]:
        """The texts of one folder by name, each one of `known`. Raises WrongTemplateError."""
        if self._directory is None or not (self._directory / folder).exists():
            return {}
        texts: dict[str, str] = {}
        try:
            for path in sorted((self._directory / folder).iterdir()):
                if not path.name.startswith("."):
                    texts[path.stem] = self._take(path, known)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise WrongTemplateError(f"{_SETTING}: {self._directory / folder} cannot be read: {why}") from None
        return texts

    def _take(self, path: Path, known: Collection[str]) -> str:
        if path.suffix != SUFFIX or path.stem not in known:
            names = ", ".join(f"{name}{SUFFIX}" for name in known)
            raise WrongTemplateError(f"{_SETTING}: {path} is no template of {path.parent.name}; there are {names}")
        text = path.read_text().removesuffix("\n")
        if (fault := self._find_fault(text)) is not None:
            raise WrongTemplateError(f"{_SETTING}: {path}:{fault.line}: {fault.message}")
        return text
