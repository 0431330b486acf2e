"""From settings to what decisions need: when to page, who else hears, and by which road a notice goes that does not arrive.

And to what connections need: the credentials of the settings, taken out of their wrapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.audience import EMAIL, ON_CALL, STAKEHOLDERS
from detector.domain.catalogue import DEFAULT_ROUTE
from detector.domain.incident import PAGERDUTY
from detector.domain.ledger import Paging
from detector.domain.severity import Severity
from detector.transport.exchange import ExchangeOption

if TYPE_CHECKING:
    from detector.adapters.settings.model import Settings


def make_paging(settings: Settings) -> Paging:
    """The settings that decisions need."""
    return Paging(
        page_from=Severity(settings.pagerduty.page_from),
        on_rise_new_key=settings.pagerduty.on_rise == "new_key",
        external_url=settings.page_url,
        pagerduty=PAGERDUTY in settings.channels,
        audience=list_audience(settings),
        update_every_seconds=settings.update_every,
        escalate_after_seconds=settings.escalate_after,
        customer_delay_seconds=settings.customer_delay,
        storm_threshold=settings.storm_threshold,
        tells_pages=settings.pagerduty.diagnosis == "trigger",
    )


def list_audience(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Every configured destination beside PagerDuty; mail has two."""
    found = [(name, "") for name in settings.channels if name not in {PAGERDUTY, EMAIL}]
    if settings.email is not None:
        lists = ((ON_CALL, settings.email.on_call), (STAKEHOLDERS, settings.email.stakeholders))
        found += [(EMAIL, route) for route, addresses in lists if addresses]
    return tuple(found)


def list_fallbacks(settings: Settings) -> list[tuple[str, str]]:
    """Where a notice goes that does not arrive; mail goes to the people on call only."""
    routes = {EMAIL: ON_CALL, PAGERDUTY: DEFAULT_ROUTE}
    return [(name, routes.get(name, "")) for name in settings.fallback_channels]


def make_exchange_option(settings: Settings) -> ExchangeOption:
    """How Prometheus is reached: with the credentials that the settings give."""
    given = settings.prometheus
    basic = None
    if given.username is not None:
        basic = (given.username, given.password.get_secret_value() if given.password else "")
    return ExchangeOption(
        headers={name: value.get_secret_value() for name, value in given.headers.items()},
        basic_auth=basic,
        bearer_token=given.bearer_token.get_secret_value() if given.bearer_token else None,
        ca_file=given.ca_file,
    )


def list_webhook_secrets(settings: Settings) -> tuple[str, ...]:
    """What PagerDuty's webhooks are signed with."""
    secret = settings.pagerduty.webhook_secret
    return () if secret is None else (secret.get_secret_value().strip(),)
