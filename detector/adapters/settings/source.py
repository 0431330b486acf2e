"""Where values come from: DETECTOR_* names of the environment or of files in a secrets directory, and `detector.yaml`.

Each source gives a nested mapping by field name and tells its faults by line: an unknown name with the nearest valid one, a list
or an object that is not JSON. pydantic-settings merges the mappings; the first source that has a value wins.
"""

from __future__ import annotations

import json
import re
import types
import typing
from difflib import get_close_matches
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from detector.adapters.settings.fault import WrongSettingsError
from detector.adapters.settings.file import read_file

if typing.TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo

PREFIX = "DETECTOR_"
MAX_FILE_BYTES = 65536
# read elsewhere: by the tests, by the finder of binaries, by this module
_ELSEWHERE = re.compile(r"DETECTOR_(TEST_\w*|CONFIG|SECRETS_DIR|[A-Z]+_BIN)")
# Kubernetes sets these in every pod of a namespace with a Service named detector or detector-...
_KUBERNETES = re.compile(r"DETECTOR_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")

Path_: TypeAlias = tuple[str, ...]


class Shape:
    """The names a model has: every path of field names, and which of them hold lists or objects."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.leaves: dict[Path_, str] = {}  # path -> "text", "list" or "object"
        self._walk(model, ())

    def _walk(self, model: type[BaseModel], path: Path_) -> None:
        for name, field in model.model_fields.items():
            part = _find_model(field.annotation)
            if part is not None:
                self._walk(part, (*path, name))
            else:
                self.leaves[*path, name] = _find_form(field.annotation)

    def is_group(self, path: Path_) -> bool:
        """Whether the path is a sub-model."""
        return any(leaf[: len(path)] == path for leaf in self.leaves if len(leaf) > len(path))

    def nearest(self, path: Path_) -> Path_ | None:
        """The valid path that is spelled most like this one."""
        names = {"__".join(leaf): leaf for leaf in self.leaves}
        found = get_close_matches("__".join(path), names, n=1, cutoff=0.6)
        return names[found[0]] if found else None


def name_path(path: Path_) -> str:
    """The environment's name of a path: DETECTOR_EMAIL__PORT."""
    return PREFIX + "__".join(path).upper()


class NamedValues(PydanticBaseSettingsSource):
    """Flat DETECTOR_* names with text values, from the environment or from files; an empty value counts as not set."""

    def __init__(self, settings: type[BaseSettings], values: Mapping[str, str], shape: Shape, *, where: str = "") -> None:
        super().__init__(settings)
        self.faults: list[str] = []
        self.misspelt: set[str] = set()  # groups with an unknown name: what is missing there was probably meant by it
        self.origins: dict[Path_, str] = {}
        self._where = where
        self._shape = shape
        self._nested: dict[str, Any] = {}
        for name, text in sorted(values.items()):
            if text:
                self._take(name.upper(), text)

    def __call__(self) -> dict[str, Any]:
        """Give the nested mapping."""
        return self._nested

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Give one field; part of the interface, `__call__` gives all at once."""
        del field
        return self._nested.get(field_name), field_name, False

    def _take(self, name: str, text: str) -> None:
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        form = self._shape.leaves.get(path)
        if form is not None:
            value = self._decode(name, text, form)
        elif self._shape.leaves.get(path[:-1]) == "object":
            value = text
        elif _is_foreign(name, text):
            return
        else:
            self._refuse(name, path)
            return
        self.origins[path] = self._say(name)
        _place(self._nested, path, value)

    def _refuse(self, name: str, path: Path_) -> None:
        if self._shape.is_group(path):
            leaf = next(known for known in self._shape.leaves if known[: len(path)] == path)
            self.faults.append(f"{self._say(name)} holds several settings; set them one by one, for example {name_path(leaf)}")
            return
        self.misspelt.add(path[0])
        near = self._shape.nearest(path)
        self.faults.append(f"{self._say(name)} is not a setting" + (f"; did you mean {name_path(near)}?" if near else ""))

    def _decode(self, name: str, text: str, form: str) -> object:
        if form == "text":
            return text
        example, kind = ('["a", "b"]', list) if form == "list" else ('{"default": "..."}', dict)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, kind):
            self.faults.append(f"{self._say(name)} must be a JSON {form} such as {example}")
            return kind()
        return value

    def _say(self, name: str) -> str:
        return f"{name} ({self._where})" if self._where else name


class FileValues(PydanticBaseSettingsSource):
    """`detector.yaml`: the same names in lower case, nested."""

    def __init__(self, settings: type[BaseSettings], path: Path | None, shape: Shape) -> None:
        super().__init__(settings)
        self.faults: list[str] = []
        self.misspelt: set[str] = set()  # groups with an unknown name: what is missing there was probably meant by it
        self.origins: dict[Path_, str] = {}
        self._path = path
        self._shape = shape
        self._nested: dict[str, Any] = {} if path is None else self._read(path)

    def __call__(self) -> dict[str, Any]:
        """Give the nested mapping."""
        return self._nested

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Give one field; part of the interface, `__call__` gives all at once."""
        del field
        return self._nested.get(field_name), field_name, False

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = read_file(path)
        except WrongSettingsError as wrong:
            self.faults += wrong.lines
            return {}
        if content is None:
            return {}
        if not isinstance(content, dict):
            self.faults.append(f"{path} must hold settings by name, for example `every: 5s`")
            return {}
        return self._keep_known(content, ())

    def _keep_known(self, content: Mapping[Any, Any], path: Path_) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in content.items():
            here = (*path, str(key))
            if value is None:
                continue
            if here in self._shape.leaves:
                kept[str(key)] = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
                self.origins[here] = f"{self._path}: {'.'.join(here)}"
            elif self._shape.is_group(here) and isinstance(value, dict):
                kept[str(key)] = self._keep_known(value, here)
            elif self._shape.is_group(here):
                self.faults.append(f"{self._path}: {'.'.join(here)} must hold settings by name, not one value")
            else:
                self.misspelt.add(here[0])
                near = self._shape.nearest(here)
                hint = f"; did you mean {'.'.join(near)}?" if near else ""
                self.faults.append(f"{self._path}: {'.'.join(here)} is not a setting{hint}")
        return kept


def read_secret_files(directory: Path) -> tuple[dict[str, str], list[str]]:
    """Text by upper-case name of the files in a secrets directory that are named like settings, and the faults met."""
    values: dict[str, str] = {}
    faults: list[str] = []
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.upper().startswith(PREFIX))
    except OSError as error:
        return {}, [f"secrets directory {directory} cannot be read: {error.strerror}"]
    for path in paths:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                faults.append(f"{path} is larger than {MAX_FILE_BYTES} bytes: not a secret")
                continue
            values[path.name.upper()] = content.decode().rstrip("\r\n")
        except OSError as error:
            faults.append(f"{path} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{path} is not UTF-8 text")
    return values, faults


def _is_foreign(name: str, text: str) -> bool:
    if _ELSEWHERE.fullmatch(name) or _KUBERNETES.fullmatch(name):
        return True
    return name.endswith("_PORT") and text.startswith(("tcp://", "udp://", "sctp://"))


def _place(nested: dict[str, Any], path: Path_, value: object) -> None:
    for part in path[:-1]:
        inner = nested.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        nested = inner
    held = nested.get(path[-1])
    nested[path[-1]] = value | held if isinstance(held, dict) and isinstance(value, dict) else value


def _find_model(annotation: object) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _find_form(annotation: object) -> str:
    origins = {typing.get_origin(option) for option in _options(annotation)}
    if dict in origins:
        return "object"
    return "list" if origins & {list, tuple} else "text"


def _options(annotation: object) -> tuple[object, ...]:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return typing.get_args(annotation)
    return (annotation,)
