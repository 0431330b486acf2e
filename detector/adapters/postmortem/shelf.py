"""The folder of post-mortems: `<incident>.md` with `<incident>.svg`, `<incident>-2.md` for a later draft beside an edited one.

`<incident>.curves.json` holds the samples of the plot, so that it can be drawn anew once Prometheus has forgotten them.

The last line of a draft holds its digest: as long as it is right, nobody has edited the file and a new draft may replace it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from detector.adapters.postmortem.document import FOLLOW_UP, amend_document, render_document
from detector.adapters.postmortem.plot import draw_plot
from detector.domain.postmortem import Curve
from detector.ports.error import TemporaryError
from detector.ports.postmortem import FollowUp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from detector.domain.incident import Event
    from detector.domain.postmortem import Facts

_SEAL = re.compile(r"<!-- draft ([0-9a-f]{64}) -->\n\Z")
_ITEM = re.compile(r"\s*[-*] \[([ xX])\] (.+)")
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_DRAFTS = 50
_CURVES = ".curves.json"


class FileArchive:
    """Implements ports.postmortem.Archive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, facts: Facts) -> str:
        """Write both files; the document's path."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._choose(facts.incident.id)
            picture = path.with_suffix(".svg")
            _replace(picture, draw_plot(facts))
            _replace(path.with_suffix(_CURVES), json.dumps([asdict(curve) for curve in facts.curves]))
            _replace(path, _seal(render_document(facts, picture.name)))
        except OSError as fault:
            raise TemporaryError(f"{self._folder}: {fault.strerror or fault}") from fault
        return str(path)

    def amend(self, incident: str, events: Sequence[Event]) -> bool:
        """Add what was said later to the newest, where nobody has edited it."""
        path = self._newest(incident)
        if path is None or not _is_draft(path):
            return False
        try:
            _replace(path, _seal(amend_document(_SEAL.sub("", _read(path)).removesuffix("\n"), events)))
        except OSError as fault:
            raise TemporaryError(f"{path}: {fault.strerror or fault}") from fault
        return True

    def read(self, incident: str) -> str | None:
        """Text of the newest."""
        path = self._newest(incident)
        return None if path is None else _SEAL.sub("", _read(path))

    def draw(self, incident: str) -> str | None:
        """Plot of the newest."""
        path = self._newest(incident)
        picture = None if path is None else path.with_suffix(".svg")
        return _read(picture) if picture is not None and picture.exists() else None

    def read_curves(self, incident: str) -> Sequence[Curve]:
        """Samples of the newest; a file that is not ours any more gives none."""
        path = self._newest(incident)
        kept = None if path is None else path.with_suffix(_CURVES)
        if kept is None or not kept.exists():
            return ()
        try:
            return tuple(_read_curve(each) for each in json.loads(_read(kept)))
        except (ValueError, TypeError, KeyError):
            return ()

    def list_follow_ups(self) -> Sequence[FollowUp]:
        """Boxes under the last section of every document."""
        try:
            paths = sorted(self._folder.glob("*.md"), key=lambda path: path.stat().st_mtime, reverse=True)
        except OSError as fault:
            raise TemporaryError(f"{self._folder}: {fault.strerror or fault}") from fault
        return [found for path in paths for found in _find_items(path)]

    def _choose(self, incident: str) -> Path:
        """The newest where nobody has edited it, else the next."""
        for path in self._list(incident):
            if not path.exists() or _is_draft(path):
                return path
        raise TemporaryError(f"{self._folder}: over {_DRAFTS} edited post-mortems of {incident}")

    def _newest(self, incident: str) -> Path | None:
        there = [path for path in self._list(incident) if path.exists()]
        return there[-1] if there else None

    def _list(self, incident: str) -> Iterator[Path]:
        if _ID.fullmatch(incident):
            yield self._folder / f"{incident}.md"
            for number in range(2, _DRAFTS):
                yield self._folder / f"{incident}-{number}.md"


def _seal(text: str) -> str:
    return f"{text}\n<!-- draft {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _is_draft(path: Path) -> bool:
    text = _read(path)
    seal = _SEAL.search(text)
    return seal is not None and hashlib.sha256(text[: seal.start() - 1].encode()).hexdigest() == seal[1]


def _find_items(path: Path) -> Iterator[FollowUp]:
    incident = re.sub(r"-\d+$", "", path.stem)
    inside = False
    for line in _read(path).splitlines():
        if line.startswith("## "):
            inside = line.strip() == FOLLOW_UP
        elif inside and (match := _ITEM.fullmatch(line)):
            yield FollowUp(incident, match[2].strip(), match[1] != " ")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise TemporaryError(f"{path}: {fault.strerror or fault}") from fault


def _replace(path: Path, text: str) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w", encoding="utf-8", errors="replace", opener=_open_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_curve(kept: dict[str, Any]) -> Curve:
    points = tuple((float(at), float(value)) for at, value in kept["points"])
    threshold = None if kept["threshold"] is None else float(kept["threshold"])
    return Curve(str(kept["rule"]), str(kept["signal"]), str(kept["labels"]), points, threshold, str(kept["fault"]))
