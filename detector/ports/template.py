"""Text templates of rules and channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Renderer(Protocol):
    """Renders sandboxed templates; never raises: a template that fails comes back raw."""

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text with the values filled in, or the template itself."""
