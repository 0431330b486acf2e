"""Whether a mitigation's program can be started in the sandbox of the daemon's unit."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from detector.adapters.command.sandbox import Sandbox, find_faults, read_unit

SHIPPED = Path(__file__).resolve().parents[2] / "deploy"


def find_nothing(_: Sequence[str]) -> str:
    """Nothing stands against it here."""
    return ""


def write_program(path: Path, text: str = "#!/bin/sh\n") -> str:
    """An executable file for everybody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def make_unit(**properties: str) -> Sandbox:
    """A unit that says just this."""
    return Sandbox("unit", {name: (value,) for name, value in properties.items()})


def test_the_shipped_unit_lets_programs_of_the_system_start_and_no_others(tmp_path: Path) -> None:
    """Under the hardened unit /usr/bin is there; temporary folders, homes, and what is nowhere, are not."""
    unit = read_unit([SHIPPED])
    assert unit is not None
    assert unit.find_fault("env") == ""
    assert unit.find_fault("/usr/bin/env") == ""
    assert unit.find_fault("/no/such/program") == "/no/such/program: not found"
    assert unit.find_fault("no-such-program").endswith("the PATH of the unit")
    tool = write_program(tmp_path / "tool")
    hidden = Sandbox(unit.file, {**unit.properties, "InaccessiblePaths": (str(tmp_path),)})
    assert f"hides {tmp_path}" in hidden.find_fault(tool)


def test_each_property_of_a_unit_that_stands_in_the_way_is_named(tmp_path: Path) -> None:
    """What hides a folder, what forbids to execute there, and what makes an exception of it."""
    tool = write_program(tmp_path / "home" / "tool")
    home, here = str(tmp_path / "home"), str(tmp_path)
    assert make_unit().find_fault(tool) == ""
    for name in ("InaccessiblePaths", "TemporaryFileSystem", "NoExecPaths"):
        assert f"{name}= of the unit" in make_unit(**{name: f"-{here}"}).find_fault(tool)
    assert make_unit(NoExecPaths="/", ExecPaths=f"{home} /bin /usr/bin").find_fault(tool) == ""
    assert make_unit(InaccessiblePaths=here, BindReadOnlyPaths=home).find_fault(tool) == ""
    assert make_unit(Environment=f"A=b 'PATH={home}:/x'").find_fault("tool") == ""
    assert make_unit(WorkingDirectory=here).find_fault("home/tool") == ""
    script = write_program(tmp_path / "script", "#!/no/such/python -u\n")
    assert make_unit().find_fault(script) == f"{script}: its interpreter /no/such/python is not there"
    Path(home).chmod(0o700)
    assert make_unit(DynamicUser="yes", PrivateTmp="no").find_fault(tool) != ""
    assert "closed to the unit's user" in make_unit(User="detector").find_fault(tool)


def test_a_home_is_hidden_where_the_unit_protects_it() -> None:
    """ProtectHome=true and tmpfs hide it, read-only does not; a link into it is followed."""
    hiding = make_unit(ProtectHome="tmpfs")
    place = Path("/root/.local/bin/flyctl")
    assert "ProtectHome=tmpfs" in str(dict(hiding._hidden()))
    assert dict(make_unit(ProtectHome="read-only")._hidden())["ProtectHome=read-only"] == ()
    assert any(place.is_relative_to(folder) for folder in dict(hiding._hidden())["ProtectHome=tmpfs"])


def test_drop_ins_are_read_and_an_empty_value_takes_back(tmp_path: Path) -> None:
    """The unit's own folder first; drop-ins by name; other sections say nothing."""
    (tmp_path / "detector.service").write_text("[Unit]\nUser=no\n[Service]\nNoExecPaths=/a\nProtectHome=true\n# User=x\n")
    (tmp_path / "detector.service.d").mkdir()
    (tmp_path / "detector.service.d" / "10.conf").write_text("[Service]\nNoExecPaths=\nNoExecPaths=/b \\\n /c\nProtectHome=no\n")
    unit = read_unit([tmp_path / "none", tmp_path])
    assert unit is not None
    assert unit.properties["NoExecPaths"] == ("/b   /c",)
    assert unit.properties["ProtectHome"] == ("true", "no")
    assert "User" not in unit.properties
    assert read_unit([tmp_path / "none"]) is None


async def test_it_is_said_which_way_it_was_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a unit as this user, without systemd by the unit's words, else by a probe with its properties."""
    unit = Sandbox("/etc/unit", {"ProtectHome": ("true",), "Restart": ("always",)})
    nowhere = tmp_path / "none"
    assert (await find_faults(["env"], None, find_nothing)).how == "looked for as this user: no detector.service on this machine"
    found = await find_faults(["env", "/no/such"], unit, find_nothing, running=nowhere)
    assert found.how == "by what /etc/unit says; systemd is not running here"
    assert found.faults == {"/no/such": "/no/such: not found"}
    assert "only root" in (await find_faults([], unit, find_nothing, running=tmp_path, is_root=False)).how

    record = f'#!{sys.executable}\nimport os, sys\nopen({str(tmp_path / "argv")!r}, "w").write("\\n".join(sys.argv))\n'
    run = "cut = sys.argv.index(sys.executable)\nos.execv(sys.executable, sys.argv[cut:])\n"
    write_program(tmp_path / "bin" / "systemd-run", record + run)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = await find_faults(["env", "/no/such"], unit, find_nothing, running=tmp_path, is_root=True)
    assert found.how == "looked for by systemd-run with the properties of /etc/unit"
    assert set(found.faults) == {"/no/such"}
    asked = (tmp_path / "argv").read_text()
    assert "--property=ProtectHome=true\n" in asked
    assert "Restart" not in asked
    write_program(tmp_path / "bin" / "systemd-run", "#!/bin/sh\nexit 1\n")
    found = await find_faults(["env"], unit, find_nothing, running=tmp_path, is_root=True)
    assert found.how == "by what /etc/unit says; systemd-run could not start a probe"
