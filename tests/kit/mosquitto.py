"""A real MQTT broker on a free port: mosquitto, in memory, open to everyone on 127.0.0.1."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.kit.port import free_port, is_listening
from tests.kit.process import Process
from tests.kit.server import Server


def find_mosquitto() -> Path | None:
    """The broker's binary (Debian keeps it in /usr/sbin, which is on few people's PATH), or None."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


class Mosquitto(Server):
    """As a context manager it runs within the block; `options` are further lines of its configuration."""

    def __init__(self, folder: Path, *, port: int | None = None, options: Sequence[str] = ()) -> None:
        binary = find_mosquitto()
        assert binary, "mosquitto is not installed"
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence false",
            "log_dest stdout",
            "user root",  # otherwise, started by root, it becomes a user that cannot read this folder
            *options,
        ]
        config.write_text("\n".join(lines) + "\n")
        process = Process([binary, "-c", config], log=folder / "mosquitto.log", cwd=folder)
        super().__init__(process, lambda: is_listening(self.port))
