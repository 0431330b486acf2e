"""The command line: commands, flags, exit codes; the only place that prints. Heavy imports stand inside commands."""

from detector.cli.command import main

__all__ = ["main"]
