"""Atlassian Statuspage as a channel: one public incident for each of ours, in words for customers.

`wording` holds the texts, `account` speaks the API within its rate, `channel` decides what to call.
"""

from detector.adapters.statuspage.channel import AtlassianStatuspage

__all__ = ["AtlassianStatuspage"]
