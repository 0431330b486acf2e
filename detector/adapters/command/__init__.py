"""Commands of the catalogue, run without a shell. Before it: `app/mitigator`. After it: the operating system."""

from detector.adapters.command.runner import ProcessRunner

__all__ = ["ProcessRunner"]
