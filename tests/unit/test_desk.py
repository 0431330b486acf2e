"""People's words that concern incidents without naming one: deploys."""

from __future__ import annotations

from typing import Any

from detector.app.desk import WritingDesk
from detector.domain.deploy import Deploy
from tests.kit.stage import Stage, make_rule, series


def _told(stage: Stage) -> list[tuple[str, str, float]]:
    return [(event.actor, event.message, event.at) for event in stage.store.disk.events if event.kind == "deploy"]


async def test_a_deploy_while_an_incident_stands_is_in_its_timeline() -> None:
    """With who did it and when, once though it is told twice; one long before, of another service or after the end is not."""
    heard: list[Deploy] = []
    async with Stage([make_rule("errors")]) as stage:
        roster, reloader, board, paging = stage.roster, stage.reloader, stage.board, stage.paging
        desk = WritingDesk(stage.committer, stage.store, roster, reloader, board, paging, stage.clock, heard.append)
        stage.source.default = series(shop=0.2)
        await stage.clock.run(30)
        (incident,) = stage.store.disk.incidents.values()
        await stage.clock.run(30)
        now = stage.clock.now()
        repair, late = Deploy("shop", "v2", now - 5.0, "ann"), Deploy("shop", "v1", incident.opened - 60.0)
        old, other = Deploy("shop", "v0", incident.opened - 7200.0, "ann"), Deploy("cart", "v9", now, "ann")
        for each in (repair, repair, late, old, other):
            await desk.add_deploy(each)
        assert _told(stage) == [("ann", "shop runs v2", now - 5.0), ("detector", "shop runs v1", incident.opened - 60.0)]
        stage.source.default = series(shop=0.0)
        await stage.clock.run(60)
        commits: Any = stage.store.commits
        await desk.add_deploy(Deploy("shop", "v3", stage.clock.now(), "ann"))
        assert (len(_told(stage)), stage.store.commits) == (2, commits)
        assert heard == [repair, repair, late, old, other, Deploy("shop", "v3", stage.clock.now(), "ann")]
