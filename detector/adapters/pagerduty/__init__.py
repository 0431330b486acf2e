"""PagerDuty through the Events API v2, as a channel.

`event` makes the event of a delivery, `limit` makes it fit, `turnstile` keeps the rate, `channel` sends.
"""

from detector.adapters.pagerduty.channel import PagerDutyEvents
from detector.adapters.pagerduty.limit import Part

__all__ = ["PagerDutyEvents", "Part"]
