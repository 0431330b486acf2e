"""Probes of a service from outside, over HTTP."""

from detector.adapters.probe.http import HttpProbe

__all__ = ["HttpProbe"]
