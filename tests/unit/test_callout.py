"""Who is called: the catalogue first, PagerDuty for the rest, responder requests at HIGH and CRITICAL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from detector.app.callout import Callout
from detector.domain.catalogue import Catalogue, Responders, Service
from detector.domain.ledger import Paging
from detector.ports.error import TemporaryError
from tests.kit.account import ERIN, MO, OLU, MemoryAccount
from tests.kit.stage import Stage, make_rule, series

if TYPE_CHECKING:
    from detector.domain.incident import Incident

OWNED = Catalogue({"shop": Service("shop", owner="payments", responders=Responders(service_owner=OLU.email))})


def make(stage: Stage, account: MemoryAccount | None, requester: str = "") -> Callout:
    """The callout of a stage."""
    ear: Any = stage.ear
    return Callout(stage.committer, stage.roster, Paging(), stage.clock, ear, account, requester=requester)


async def breach(stage: Stage, value: float = 0.2) -> Incident:
    """The shop breaks."""
    stage.source.default = series(shop=value)
    await stage.clock.run(11)
    return find(stage)


def find(stage: Stage) -> Incident:
    """The only incident."""
    (incident,) = stage.store.disk.incidents.values()
    return incident


async def test_engineer_and_manager_on_call_stand_in_the_ticket() -> None:
    """Levels 1 and 2 of the escalation policy, beside the owner of the catalogue; written once."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")], OWNED) as stage:
        incident = await breach(stage)
        callout = make(stage, account, ERIN.email)
        await callout.look()
        assert find(stage).responders == {}  # PagerDuty has no incident yet
        remote = account.hold(incident.pages[0].key)
        await stage.clock.run(3)
        for _ in range(3):
            await callout.look()
        assert find(stage).responders == {"service_owner": OLU.email, "on_call_engineer": "Erin", "on_call_manager": "Mo"}
        assert account.requests == [(remote, "Erin", ("Mo", "Olu"), f"high: {incident.summary}")]
        lines = [event.message for event in stage.store.disk.events if event.kind == "responders"]
        assert lines == [f"service owner: {OLU.email}, on call engineer: Erin, on call manager: Mo"]


async def test_the_catalogue_is_believed_before_pagerduty() -> None:
    """A manager who is named there is asked by that address; a name without one cannot be."""
    catalogue = Catalogue({"shop": Service("shop", responders=Responders("Olu", "the night shift", MO.email))})
    account = MemoryAccount()
    async with Stage([make_rule("errors")], catalogue) as stage:
        incident = await breach(stage)
        account.hold(incident.pages[0].key)
        await make(stage, account, ERIN.email).look()
        assert find(stage).responders["on_call_engineer"] == "the night shift"
        assert [people for _, _, people, _ in account.requests] == [("Mo",)]


async def test_without_a_requester_nobody_is_asked_through_pagerduty() -> None:
    """The names are looked up all the same; Slack mentions them."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")], OWNED) as stage:
        incident = await breach(stage)
        account.hold(incident.pages[0].key)
        await make(stage, account).look()
        assert find(stage).responders["on_call_manager"] == "Mo"
        assert account.requests == []


async def test_a_medium_incident_summons_nobody_until_it_rises() -> None:
    """The names stand in the ticket from the start; owner and manager are asked when it becomes HIGH."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")], OWNED) as stage:
        incident = await breach(stage, 0.02)
        account.hold(incident.pages[0].key)
        callout = make(stage, account, ERIN.email)
        await callout.look()
        assert find(stage).responders["on_call_engineer"] == "Erin"
        assert account.requests == []
        await breach(stage, 0.2)
        await callout.look()
        assert len(account.requests) == 1


async def test_without_an_account_the_catalogue_names_them() -> None:
    """At HIGH; with nothing in the catalogue nothing is written."""
    async with Stage([make_rule("errors")], OWNED) as stage:
        await breach(stage)
        await make(stage, None).look()
        assert find(stage).responders["service_owner"] == OLU.email
    async with Stage([make_rule("errors")]) as stage:
        await breach(stage)
        await make(stage, None).look()
        assert find(stage).responders == {}


async def test_a_fault_is_told_and_tried_again_and_a_refusal_is_not() -> None:
    """Temporary: again after a while. For good (no such requester): who the catalogue names is still named."""
    account = MemoryAccount(fault=TemporaryError("503"))
    async with Stage([make_rule("errors")], OWNED) as stage:
        incident = await breach(stage)
        account.hold(incident.pages[0].key)
        callout = make(stage, account, "nobody@example.org")
        await callout.look()
        await callout.look()
        assert len(stage.ear.troubles) == 1
        account.fault = None
        await stage.clock.run(16)
        await callout.look()
        assert "no user nobody@example.org" in stage.ear.troubles[-1][1]
        assert find(stage).responders["service_owner"] == OLU.email
        asked = len(account.asked)
        await stage.clock.run(120)
        await callout.look()
        assert len(account.asked) == asked


async def test_a_restart_summons_nobody_twice() -> None:
    """Who stands in the ticket was called."""
    account = MemoryAccount()
    async with Stage([make_rule("errors")], OWNED) as stage:
        incident = await breach(stage)
        account.hold(incident.pages[0].key)
        await make(stage, account, ERIN.email).look()
        stage.store.disk.incidents = {key: replace(held, summoned=True) for key, held in stage.store.disk.incidents.items()}
        await stage.restart()
        await make(stage, account, ERIN.email).look()
        assert len(account.requests) == 1
