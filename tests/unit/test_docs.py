"""README and docs/ held to the truth: examples load, tables agree with the program, everything that is named exists."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import typer

from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.schema import make_schema
from detector.adapters.rulefile.trial import read_trials
from detector.adapters.settings import load_settings
from detector.adapters.settings.model import CHANNELS, Settings
from detector.adapters.settings.source import Shape, _find_model, name_path
from detector.adapters.webhook.body import SCHEMA, VERSION
from detector.adapters.webhook.channel import EVENT_ID_HEADER, SIGNATURE_HEADER
from detector.cli import command
from detector.cli.exit import DONE, FAILURE, OVER_LIMIT, USAGE
from detector.domain.duration import format_duration
from detector.domain.outcome import FailureReason
from detector.web.metrics import DELIVERY_OUTCOMES
from tests.kit.manual import PAGES, ROOT, find_blocks, list_sections, rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

README, DOCS = ROOT / "README.md", ROOT / "docs"
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ANY_RULE = "rules: [{name: any, signals: {x: up}, open: x < 1}]\n"


def _read(page: Path) -> str:
    return page.read_text()


def _list_fences() -> Iterator[tuple[str, str, str]]:
    """A name for the test, what the fence calls itself, and its text."""
    for page in PAGES:
        text = _read(page)
        for match in _FENCE.finditer(text):
            yield f"{page.name}:{text[: match.start()].count(chr(10)) + 1}", match[1], match[2]


def _list_code() -> Iterator[str]:
    """Every line and every inline piece of code on any page."""
    for page in PAGES:
        text = _read(page)
        for match in _FENCE.finditer(text):
            yield from match[2].splitlines()
        rest = _FENCE.sub("", text)
        yield from (line.strip() for line in rest.splitlines() if line.startswith("    "))
        yield from re.findall(r"`([^`\n]+)`", rest)


def _find_table(page: Path, head: str) -> list[list[str]]:
    """Cells of the rows of the table whose first head cell is that."""
    lines = _read(page).splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith(f"| {head} |")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _find_names(page: Path, head: str) -> list[str]:
    return [row[0].strip("`") for row in _find_table(page, head)]


RULE_FILES = {name: text for name, kind, text in _list_fences() if kind == "yaml"}
TEST_FILES = {name: text for name, kind, text in _list_fences() if kind == "yaml http.test.yaml"}
SETTING_FILES = {name: text for name, kind, text in _list_fences() if kind == "yaml detector.yaml"}


@pytest.mark.parametrize("name", RULE_FILES)
def test_every_rule_example_loads(name: str, tmp_path: Path) -> None:
    """An example is a whole rule file without a finding; one with services alone stands beside a rule, as in practice."""
    (tmp_path / "example.yaml").write_text(RULE_FILES[name])
    if "rules:" not in RULE_FILES[name] and "groups:" not in RULE_FILES[name]:
        (tmp_path / "any.yaml").write_text(_ANY_RULE)
    examination = RuleDirectory(tmp_path).examine()
    assert [str(finding) for finding in examination.findings] == []
    assert examination.rules.rules


@pytest.mark.parametrize("name", TEST_FILES)
def test_every_example_of_a_rule_test_is_read(name: str, tmp_path: Path) -> None:
    """An example of a rule test has no fault and tests something."""
    path = tmp_path / "http.test.yaml"
    path.write_text(TEST_FILES[name])
    trials, findings = read_trials(path)
    assert findings == []
    assert trials


@pytest.mark.parametrize("name", SETTING_FILES)
def test_every_settings_example_loads(name: str, tmp_path: Path) -> None:
    """An example of detector.yaml has no fault and sets something."""
    path = tmp_path / "detector.yaml"
    path.write_text(SETTING_FILES[name])
    assert load_settings({"DETECTOR_CONFIG": str(path)}) != load_settings({"DETECTOR_CONFIG": ""})


def test_all_examples_are_known_kinds() -> None:
    """No example escapes the loaders by a fence of its own invention."""
    kinds = {kind for _, kind, _ in _list_fences()}
    assert kinds <= {"yaml", "yaml detector.yaml", "yaml http.test.yaml", "sh", "sh install", "json", "go", "python", "mermaid"}
    assert len(RULE_FILES) > 8
    assert SETTING_FILES
    assert TEST_FILES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_made_from_the_program_is_up_to_date(page: Path) -> None:
    """Made tables are as the program makes them; run `python -m tests.kit.manual` after a change."""
    assert rewrite(_read(page)) == _read(page), "run `python -m tests.kit.manual`"


def test_every_key_of_rule_files_stands_in_the_reference() -> None:
    """Each section has its table, and each key that `detector schema` prints is in one."""
    blocks = find_blocks(_read(DOCS / "rules.md"))
    wanted_blocks = {f"keys of {name}" for name in list_sections()}
    assert wanted_blocks - blocks.keys() == set(), "give it `<!-- made: keys of ... -->` and `<!-- /made -->` in docs/rules.md"
    told = set(re.findall(r"^\| `(\w+)`", "".join(blocks.values()), re.MULTILINE))
    schema = make_schema()
    wanted = {name for part in (schema, schema["then"], schema["else"]["anyOf"][0]) for name in part.get("properties", {})}
    wanted |= {name for section in schema["$defs"].values() for name in section.get("properties", {})}
    assert wanted <= told


def test_metrics_notices_and_commands_are_told() -> None:
    """The other made tables stand where a reader looks for them."""
    assert "metrics" in find_blocks(_read(DOCS / "operations.md"))
    assert "notices" in find_blocks(_read(DOCS / "channels.md"))
    assert "commands" in find_blocks(_read(README))


def _find_field(model: type[BaseModel], path: tuple[str, ...]) -> FieldInfo:
    field = model.model_fields[path[0]]
    if len(path) == 1:
        return field
    part = _find_model(field.annotation)
    assert part is not None, path
    return _find_field(part, path[1:])


def _show_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    match default:
        case None:
            return ""
        case float():
            return format_duration(default)
        case dict() | tuple() | list():
            return json.dumps(default)
        case _:
            return str(default)


def test_the_table_of_settings_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting is missing or invented, and each default is the one that holds."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    wanted = {name_path(path): _show_default(_find_field(Settings, path)) for path in Shape(Settings).leaves}
    told = {row[0].strip("`"): row[1].strip("`") for row in _find_table(DOCS / "operations.md", "setting")}
    assert sorted(wanted.items() - told.items()) == [], "settings without a row in docs/operations.md, or with another default"
    assert sorted(told.items() - wanted.items()) == [], "rows of docs/operations.md without a setting"


def test_every_setting_that_is_named_exists() -> None:
    """DETECTOR_ names anywhere in the pages are settings, or what is read beside them."""
    known = {name_path(path) for path in Shape(Settings).leaves}
    beside = {"DETECTOR_CONFIG", "DETECTOR_SECRETS_DIR", "DETECTOR_PROMETHEUS_BIN"}
    for page in PAGES:
        named = {name.rstrip("_") for name in re.findall(r"\bDETECTOR_[A-Z_]*[A-Z]", _read(page))}
        assert named <= known | beside, page.name


def test_the_reasons_of_failed_queries_are_all_told() -> None:
    """The table has every value of the metric's label."""
    assert set(_find_names(DOCS / "operations.md", "reason")) == {reason.value for reason in FailureReason}


def _list_events() -> Iterator[str]:
    """Names of the log's lines, from the calls that make them."""
    for path in (ROOT / "detector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            caller, first = ast.unparse(node.func), node.args[0]
            if path.name == "observer.py" and path.parent.name == "log" and (caller.startswith("self._log.") or caller == "tell"):
                if isinstance(first, ast.BinOp):
                    yield from (f"notice {outcome}" for outcome in DELIVERY_OUTCOMES)
                else:
                    yield from _read_event(first)
            elif caller.endswith("observer.note"):
                yield from _read_event(first)


def _read_event(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from (*_read_event(one), *_read_event(other))
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "<kind>" for part in parts)


def test_every_line_of_the_log_is_explained() -> None:
    """The table of log lines has every event that the program writes, and no other."""
    told, written = set(_find_names(DOCS / "operations.md", "line")), set(_list_events())
    assert (written - told, told - written) == (set(), set()), "lines without a row in docs/operations.md, rows without a line"


def test_exit_codes_are_those_of_the_program() -> None:
    """Codes and table agree."""
    assert [int(code) for code in _find_names(DOCS / "operations.md", "code")] == [
        DONE,
        FAILURE,
        USAGE,
        OVER_LIMIT,
    ]


def test_every_path_of_the_table_is_answered() -> None:
    """Each path of the HTTP table stands in the code that answers it."""
    code = "".join(path.read_text() for path in (ROOT / "detector" / "web").glob("*.py"))
    paths = [name.split()[1] for name in _find_names(DOCS / "operations.md", "path")]
    assert paths
    assert [path for path in paths if f'"{path}"' not in code] == []


def test_every_channel_has_its_chapter() -> None:
    """Each channel that can be configured stands in channels.md."""
    chapters = set(re.findall(r"^## (\w+)$", _read(DOCS / "channels.md"), re.MULTILINE))
    assert set(CHANNELS) <= chapters


def test_the_webhook_is_described_as_it_is_sent() -> None:
    """Schema, version and headers are those of the program."""
    (body,) = [json.loads(text) for _, kind, text in _list_fences() if kind == "json"]
    assert (body["schema"], body["version"]) == (SCHEMA, VERSION)
    assert {EVENT_ID_HEADER, SIGNATURE_HEADER} == set(_find_names(DOCS / "channels.md", "header"))


def test_every_named_test_exists() -> None:
    """`tests/...py::test_name` is a test of that file; each promise names at least two."""
    named = [match for page in PAGES for match in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", _read(page))]
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in _read_if_there(ROOT / path)]
    assert missing == []
    promises = re.split(r"^\d\. ", _read(README).partition("## Promises")[2].partition("## Commands")[0], flags=re.MULTILINE)[1:]
    assert len(promises) == 7
    assert [text for text in promises if len(re.findall(r"::test_", text)) < 2] == []


def _read_if_there(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def test_every_named_file_exists() -> None:
    """Paths of the repository in code are there; those of an installation, of a test's table or of the state are not meant."""
    named = {
        (page.name, path)
        for page in PAGES
        for path in re.findall(r"(?<![\w/~.<-])((?:detector|docs|deploy|tests|rules|benchmarks)/[\w./-]*[\w/])", _read(page))
        if not path.startswith(("detector/bin", "rules/first.yaml"))
    }
    assert len(named) > 20
    assert [pair for pair in sorted(named) if not (ROOT / pair[1]).exists()] == []


def test_every_named_module_exists() -> None:
    """`detector.x.y` is a module of the package (`detector.notice` is a schema, `detector.yaml` and `.db` are files)."""
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?<![\w/.$-])detector(?:\.[a-z_]+)+", _read(page))
        if not re.search(r"\.(service|yaml|json|db|notice|example)(\.|$)", name)
    }
    assert len(named) > 20
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []


def _check_command(words: list[str]) -> str:
    """What is wrong with a command line of ours; "" where nothing is."""
    found: Any = typer.main.get_command(command.app)
    while words and not words[0].startswith("-") and hasattr(found, "get_command"):
        name = words.pop(0)
        if (inner := found.get_command(None, name)) is None:
            return f"no command {name}"
        found = inner
    options = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return f"no option {sorted(given - options)}" if given - options else ""


def test_every_command_line_is_one() -> None:
    """Commands, subcommands and options of `detector ...` exist."""
    lines = {line.removeprefix("$ ") for line in _list_code()}
    ours = sorted(line for line in lines if re.match(r"detector (-|[a-z])", line))
    assert len(ours) > 5
    wrong = {}
    for line in ours:
        words = shlex.split(line.partition(" #")[0].rstrip(" &"))[1:]
        if fault := _check_command(words):
            wrong[line] = fault
    assert wrong == {}


def test_what_is_said_to_be_missing_is_missing() -> None:
    """The commands that the limits deny do not exist: whoever adds one takes it off the list."""
    denied = re.search(r"^- No (.*?) yet", _read(README).partition("## Limits")[2], re.MULTILINE)
    assert denied is None or not {*re.findall(r"`(\w+)`", denied[1])} & command.COMMANDS.keys()


def test_every_make_target_exists() -> None:
    """`make x` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match[1] for line in _list_code() if (match := re.match(r"make ([a-z-]+)", line))}
    assert {"demo", "test"} <= named <= targets


def _list_anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", _read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files and headings that a page links to are there; addresses outside are few and not followed."""
    for target in re.findall(r"\]\(([^)]+)\)", _FENCE.sub("", _read(page))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = page if not name else (page.parent / name).resolve()
        assert path.exists(), target
        assert not anchor or anchor in _list_anchors(path), target


def test_every_dependency_has_its_reason() -> None:
    """Each package that the wheel requires stands in the README's table."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = " ".join(cell for row in _find_table(README, "for") for cell in row[:2]).lower()
    wanted = {re.split(r"[\[>=<]", name)[0].lower() for name in project["dependencies"]}
    assert {name for name in wanted if name not in table} == set()


def test_the_changelog_has_tags() -> None:
    """Every entry says what kind of change it is."""
    entries = re.findall(r"^- (.*)$", _read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not re.match(r"\[(CHANGE|FEATURE|ENHANCEMENT|BUGFIX|SECURITY)\] ", entry)] == []
