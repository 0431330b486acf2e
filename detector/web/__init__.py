"""The daemon's own HTTP side: metrics, health, API, incoming webhooks; reads through ports, never an adapter."""
