"""A secret as adapters take it, without knowing where it came from."""

from __future__ import annotations

from typing import Protocol


class Secret(Protocol):
    """A value that does not show itself, as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value."""
