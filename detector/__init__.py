"""One daemon from a Prometheus sample to a delivered page, a verified recovery and a post-mortem."""

__version__ = "0.1.0"
