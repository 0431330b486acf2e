"""Slack as a channel: one message an incident, edited in place, and every later notice a reply in its thread.

`mrkdwn` makes any text harmless, `wording` says what is said, `message` builds it within Slack's limits, `client` is the vendor's
client on our own bounded exchange, `fault` judges its refusals, `memory` keeps the pace and what may have arrived, `channel` sends.
"""

from detector.adapters.slack.channel import SlackThreads
from detector.adapters.slack.wording import TEMPLATES

__all__ = ["TEMPLATES", "SlackThreads"]
