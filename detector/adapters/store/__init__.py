"""Where state survives: SQLite beside the daemon, or PostgreSQL for several replicas; the one package that speaks SQL."""

from __future__ import annotations

from detector.adapters.store.store import SqlStore, create_store

__all__ = ["SqlStore", "create_store"]
