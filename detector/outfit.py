"""What the settings ask for, made: store, channels, PagerDuty's account. Part of the composition root, for daemon and doctor.

What is not configured is not even imported.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.adapters.pagerduty import PagerDutyEvents
from detector.adapters.store import SqlStore, create_store
from detector.adapters.wording import EMAIL, SLACK, STAKEHOLDERS, STATUSPAGE, TemplateFolder
from detector.domain.incident import PAGERDUTY
from detector.transport.exchange import BeforeSend, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from detector.adapters.pagerduty_rest import PagerDutyRest
    from detector.adapters.settings import Settings
    from detector.adapters.template import TemplateRenderer
    from detector.app.audience import Audience
    from detector.ports.channel import BeforePost, Channel

    Snapshot: TypeAlias = Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]


def make_store(settings: Settings, observer: Audience) -> SqlStore:
    """SQLite in the state directory, or the PostgreSQL of the settings."""
    url = settings.database_url.get_secret_value() if settings.database_url else None
    told = partial(observer.trouble, "store")
    return create_store(settings.state_dir, url, lease_ttl_seconds=settings.lease_ttl, tell=told)


def make_channels(
    settings: Settings,
    renderer: TemplateRenderer,
    observer: Audience,
    snapshot: Snapshot,
    check: BeforeSend | None = None,
    permit: BeforePost | None = None,
) -> list[Channel]:
    """The channels that are configured; the others are not even imported. `check` may refuse a request right before it is written.

    `permit` does so for a page, knowing which. Raises WrongTemplateError.
    """
    channels: list[Channel] = []
    connect = partial(Exchange, before_send=check)
    folder = TemplateFolder(settings.templates, renderer.find_fault)
    if PAGERDUTY in settings.channels:
        given = settings.pagerduty
        channels.append(
            PagerDutyEvents(
                connect(),
                given.routing_keys,
                events_url=given.events_url,
                before_send=permit,
                on_cut=observer.page_cut,
                on_unknown_route=lambda route: observer.trouble("pagerduty", f"no routing key named {route!r}: default was used"),
            )
        )
    if (slack := settings.slack) is not None:
        from detector.adapters.slack import SlackThreads
        from detector.adapters.slack.wording import TEMPLATES as SLACK_TEMPLATES

        texts = folder.read(SLACK, SLACK_TEMPLATES)
        channels.append(SlackThreads(connect(), slack.token, slack.channel, renderer, api_url=slack.api_url, templates=texts))
    if settings.email is not None:
        from detector.adapters.email import Email, wording

        internal, public = folder.read(EMAIL, wording.ON_CALL), folder.read(STAKEHOLDERS, wording.STAKEHOLDERS)
        channels.append(Email(settings.email, renderer, on_call=internal, stakeholders=public))
    if (page := settings.statuspage) is not None:
        from detector.adapters.statuspage import AtlassianStatuspage
        from detector.adapters.statuspage.wording import TEMPLATES as STATUSPAGE_TEMPLATES

        texts = folder.read(STATUSPAGE, STATUSPAGE_TEMPLATES)
        channels.append(AtlassianStatuspage(connect(), page.page_id, page.token, renderer, api_url=page.api_url, templates=texts))
    if settings.mqtt is not None:
        from detector.adapters.mqtt import Mqtt

        channels.append(Mqtt(settings.mqtt, snapshot, on_trouble=partial(observer.trouble, "mqtt")))
    if settings.webhook is not None:
        from detector.adapters.webhook import SignedWebhook

        hook = settings.webhook
        channels.append(SignedWebhook(connect(), hook.url, secret=hook.secret, before_send=permit))
    return channels


def make_account(settings: Settings) -> PagerDutyRest | None:
    """PagerDuty's REST API where a token is set; the vendor's client is not even imported otherwise."""
    given = settings.pagerduty
    if given.api_token is None:
        return None
    from detector.adapters.pagerduty_rest import PagerDutyRest

    return PagerDutyRest(given.api_token, rest_url=given.rest_url)
