"""PagerDuty's REST API through the vendor's client: where keys stand, who is on call, responder requests.

Imported only when an API token is set. `thread` bounds the client, which blocks; `client` takes its waiting away; `account` asks.
"""

from detector.adapters.pagerduty_rest.account import PagerDutyRest

__all__ = ["PagerDutyRest"]
