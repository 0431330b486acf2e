"""The CI jobs that deploy/ ships: well-formed, every command and option in them exists, shell scripts parse, least permissions."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from detector.cli import backtest, check, test
from detector.cli.command import COMMANDS

FOLDER = Path(__file__).parents[2] / "deploy" / "ci"
OPTIONS = {"check": check.app, "test": test.app, "backtest": backtest.app}


def _load(name: str) -> Any:
    return yaml.load((FOLDER / name).read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - strings only; `on` stays a word


def _scripts(name: str) -> list[str]:
    content = _load(name)
    if name == "github.yml":
        return [step["run"] for step in content["jobs"]["rules"]["steps"] if "run" in step]
    return [*content["rules"]["before_script"], *content["rules"]["script"]]


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_commands_and_options_exist(name: str) -> None:
    """check, test and a backtest that compares; each option is one that the command knows."""
    found = re.findall(r"^\s*detector (\w+)(.*)$", "\n".join(_scripts(name)), re.MULTILINE)
    assert [command for command, _ in found] == ["check", "test", "backtest"]
    for command, words in found:
        assert command in COMMANDS
        known = {option for parameter in typer.main.get_command(OPTIONS[command]).params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= known
    assert {"--compare", "--markdown", "--max-pages"} <= set(re.findall(r"--[a-z-]+", found[-1][1]))


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_scripts_parse(name: str) -> None:
    """Each script is shell."""
    shell = shutil.which("bash")
    assert shell
    for script in _scripts(name):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_github_job() -> None:
    """It runs on pull requests only, may read the code and write comments, and puts no outside text into a shell line."""
    content = _load("github.yml")
    assert set(content["on"]) == {"pull_request"}
    assert content["permissions"] == {"contents": "read", "pull-requests": "write"}
    job = content["jobs"]["rules"]
    assert job["steps"][0]["with"]["fetch-depth"] == "0"  # the base commit must be there to be compared with
    assert not [script for script in _scripts("github.yml") if "${{" in script]
    assert all("@v" in step["uses"] for step in job["steps"] if "uses" in step)


def test_gitlab_job() -> None:
    """It runs on merge requests only, with the whole history."""
    job = _load("gitlab.yml")["rules"]
    assert [rule["if"] for rule in job["rules"]] == ['$CI_PIPELINE_SOURCE == "merge_request_event"']
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert job["artifacts"]["when"] == "always"
