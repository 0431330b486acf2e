"""The command line: commands, flags, exit codes; the only place that prints. Heavy imports stand inside commands."""

import sys

from detector import __version__


def main() -> int:
    """Answer `--version`; the commands come with their modules. Returns the exit code."""
    if sys.argv[1:] == ["--version"]:
        print(f"detector {__version__}")
        return 0
    print("detector: no command is built yet; only --version works", file=sys.stderr)
    return 2
