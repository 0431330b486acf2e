"""Anything that takes a signed JSON POST, as a channel: `body` makes the bytes of a delivery, `channel` signs and sends them."""

from detector.adapters.webhook.channel import SignedWebhook

__all__ = ["SignedWebhook"]
