"""The ranking of suspects: tables of small call graphs, and what holds for any."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from detector.domain.catalogue import Catalogue, Service
from detector.domain.course import HISTORY_STEPS, RECENT_STEPS, Course
from detector.domain.suspect import Suspect, explain_silence, rank_suspects

STEPS = HISTORY_STEPS + 1
BROKE = 8  # steps before the end


def make_catalogue(graph: Mapping[str, Sequence[str]]) -> Catalogue:
    """A catalogue of a call graph."""
    return Catalogue({name: Service(name, depends_on=tuple(callees)) for name, callees in graph.items()})


def wobble(level: float, spread: float, step: int) -> float:
    """A level with some noise, always the same."""
    return level + spread * ((step * 7919) % 11 - 5) / 5


def latency(service: str, rise: float = 0.0, *, level: float = 0.1, spread: float = 0.005, broke: int = BROKE) -> Course:
    """Seconds a request: usual, and from `broke` steps before the end on more by `rise`."""
    values = tuple(wobble(level, spread, step) + (rise if step >= STEPS - broke else 0.0) for step in range(STEPS))
    return Course(service, "latency", values)


def errors(service: str, share: float = 0.0, *, total: float = 500.0, broke: int = BROKE) -> Course:
    """Share of failed requests, of `total` in a window."""
    values = tuple(share if step >= STEPS - broke else 0.0 for step in range(STEPS))
    return Course(service, "error_rate", values, (total,) * STEPS)


def names(suspects: Sequence[Suspect]) -> list[str]:
    """The services, best first."""
    return [suspect.service for suspect in suspects]


def test_nothing_changed_names_nobody() -> None:
    """No cause found beats a guess."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": ["db"]})
    assert rank_suspects(catalogue, "shop", [latency("shop"), latency("cart"), latency("db")]) == ()


def test_it_says_why_nobody_is_named() -> None:
    """No signal, no history, or no change: three different things."""
    young = Course("shop", "latency", (*[None] * (STEPS - 5), 0.1, 0.1, 0.9, 0.9, 0.9))
    assert explain_silence("shop", [latency("cart", 1.0)]) == "no rule has a signal of it"
    assert explain_silence("shop", [young]) == "its signals have too little history to compare with"
    assert explain_silence("shop", [young, latency("shop")]).startswith("none of its signals changed")


def test_without_signals_nobody_is_named() -> None:
    """Neither a service that no rule knows nor one with too short a history has suspects."""
    catalogue = make_catalogue({"shop": ["cart"]})
    assert rank_suspects(catalogue, "shop", []) == ()
    assert rank_suspects(catalogue, "shop", [Course("shop", "latency", (None,) * (STEPS - 5) + (9.0,) * 5)]) == ()


def test_the_deepest_changed_service_comes_first() -> None:
    """Of shop, which calls cart, which calls stock, all three are slow: stock is the likeliest, then those it explains."""
    catalogue = make_catalogue({"shop": ["cart", "search"], "cart": ["stock"], "stock": ["disk"], "search": ["index"]})
    courses = [latency("shop", 0.2), latency("cart", 0.2), latency("stock", 0.2), latency("search"), latency("disk")]
    found = rank_suspects(catalogue, "shop", courses)
    assert names(found)[0] == "stock"
    assert set(names(found)) == {"stock", "cart", "shop"}
    assert "nothing it depends on changed as much" in found[0].why
    assert "latency went from 0.0995 s to 0.3 s" in found[0].why


def test_the_service_itself_is_named_where_nothing_below_changed() -> None:
    """Its own fault."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": []})
    assert names(rank_suspects(catalogue, "shop", [errors("shop", 0.1), errors("cart")])) == ["shop"]


def test_a_service_off_the_path_is_not_named() -> None:
    """What shop does not call cannot be its cause, however ill it is."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": [], "mail": []})
    found = rank_suspects(catalogue, "shop", [errors("shop", 0.1), errors("cart"), errors("mail", 0.9)])
    assert "mail" not in names(found)


def test_a_healthy_link_ends_the_walk() -> None:
    """An ill service behind a healthy one is no explanation."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": ["report"], "report": ["disk"]})
    found = rank_suspects(catalogue, "shop", [errors("shop", 0.1), errors("cart"), errors("report", 0.9)])
    assert names(found) == ["shop"]


def test_a_loud_service_behind_a_faint_link_counts_little() -> None:
    """Two paths: over a faint link to a loud service, and directly to a middling one, which wins."""
    catalogue = make_catalogue({"shop": ["batch", "pay"], "batch": ["job"], "job": ["disk"], "pay": ["bank"]})
    courses = [latency("shop", 0.2), latency("batch", 0.04), latency("job", 5.0), latency("pay", 0.15)]
    assert names(rank_suspects(catalogue, "shop", courses))[0] == "pay"


def test_what_drifted_long_ago_is_no_change() -> None:
    """A service that is slower than its history, but was so before the trouble began, is not named."""
    catalogue = make_catalogue({"shop": ["old", "new"], "old": ["a"], "new": ["b"]})
    drifted = latency("old", 2.0, broke=RECENT_STEPS + 30)
    found = rank_suspects(catalogue, "shop", [latency("shop", 0.2), drifted, latency("new", 0.2)])
    assert names(found)[0] == "new"
    assert "old" not in names(found)


def test_a_noisy_service_needs_a_larger_change() -> None:
    """The same rise means nothing where values always jump about."""
    catalogue = make_catalogue({"shop": ["calm", "wild"], "calm": ["a"], "wild": ["b"]})
    found = rank_suspects(
        catalogue, "shop", [latency("shop", 0.2), latency("calm", 0.2), latency("wild", 0.2, spread=0.5, level=1.0)]
    )
    assert names(found)[0] == "calm"
    assert "wild" not in names(found)


def test_one_failure_among_few_requests_is_no_change() -> None:
    """A third of three requests is one request."""
    catalogue = make_catalogue({"shop": ["rare"], "rare": ["x"]})
    found = rank_suspects(catalogue, "shop", [errors("shop", 0.1), errors("rare", 0.33, total=3.0)])
    assert names(found) == ["shop"]


def test_an_endpoint_comes_after_a_service_that_tells_of_itself() -> None:
    """cart-remote is cart as shop's client sees it: much louder, yet cart itself is named first."""
    catalogue = make_catalogue({"shop": ["cart", "cart-remote"], "cart": ["db"]})
    courses = [
        *(errors("shop", 0.05), latency("shop", 0.2)),
        *(errors("cart", total=1000.0), latency("cart", 0.15)),
        *(errors("cart-remote", total=50.0), latency("cart-remote", 3.0)),
    ]
    found = rank_suspects(catalogue, "shop", courses)
    assert names(found)[0] == "cart"
    assert names(found)[-1] == "cart-remote"
    assert "only its callers see it" in found[-1].why


def test_an_endpoint_that_accounts_for_the_loss_is_the_cause() -> None:
    """A database that no catalogue entry describes further is named when it took most of what its caller lost."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": ["db"]})
    courses = [
        *(errors("shop"), latency("shop", 0.2)),
        *(errors("cart"), latency("cart", 0.2)),
        *(errors("db"), latency("db", 0.19, level=0.01)),
    ]
    found = rank_suspects(catalogue, "shop", courses)
    assert names(found)[0] == "db"
    assert "accounts for most of what its caller cart lost" in found[0].why


def test_an_endpoint_that_was_never_called_before_is_not_blamed() -> None:
    """What has no history cannot have become worse: its caller began to call it."""
    catalogue = make_catalogue({"shop": ["cart"], "cart": ["wrong-table"]})
    values = (None,) * (STEPS - BROKE) + (1.0,) * BROKE
    new = Course("wrong-table", "error_rate", values, tuple(None if value is None else 100.0 for value in values))
    assert names(rank_suspects(catalogue, "shop", [errors("shop", 0.1), errors("cart", 0.1), new]))[0] == "cart"


def test_more_traffic_is_nobody_s_fault() -> None:
    """Five times the requests at every service: a count of requests that rises with them names none; one that fails is named."""
    catalogue = make_catalogue({"shop": ["cart", "pay"], "cart": ["a"], "pay": ["b"]})
    levels = tuple(500.0 if step >= STEPS - BROKE else 100.0 for step in range(STEPS))

    def flooded(service: str, share: float = 0.0) -> list[Course]:
        failed = Course(service, "error_rate", errors(service, share).values, levels)
        return [failed, Course(service, "requests", levels)]

    calm = [*flooded("shop"), *flooded("cart"), *flooded("pay")]
    assert rank_suspects(catalogue, "shop", calm) == ()
    failing = [*flooded("shop", 0.1), *flooded("cart"), *flooded("pay", 0.2)]
    assert names(rank_suspects(catalogue, "shop", failing)) == ["pay", "shop"]


def test_a_cycle_of_calls_ends() -> None:
    """Services that call each other are walked once."""
    catalogue = make_catalogue({"a": ["b"], "b": ["c"], "c": ["a", "b"]})
    found = rank_suspects(catalogue, "a", [errors("a", 0.1), errors("b", 0.2), errors("c", 0.3)])
    assert set(names(found)) == {"a", "b", "c"}


SERVICES = ("shop", "a", "b", "c", "d")
graphs = st.fixed_dictionaries({name: st.lists(st.sampled_from(SERVICES), max_size=3, unique=True) for name in SERVICES})
rises = st.fixed_dictionaries({name: st.sampled_from([0.0, 0.05, 0.3, 2.0]) for name in SERVICES})


@given(graphs, rises)
def test_any_ranking_is_in_order_reachable_and_stable(graph: dict[str, list[str]], rise: dict[str, float]) -> None:
    """Scores fall within 0..1; each service once; only changed ones that are reached; the order of the input is nothing."""
    catalogue = make_catalogue(graph)
    courses = [latency(name, rise[name]) for name in SERVICES]
    found = rank_suspects(catalogue, "shop", courses)
    scores = [suspect.score for suspect in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 < score < 1.0 for score in scores)
    assert len(set(names(found))) == len(found)
    reachable, ahead = {"shop"}, ["shop"]
    while ahead:
        for callee in graph[ahead.pop()]:
            if callee not in reachable:
                reachable.add(callee)
                ahead.append(callee)
    assert set(names(found)) <= reachable
    assert all(rise[name] > 0 for name in names(found))
    assert rank_suspects(catalogue, "shop", courses[::-1]) == found


@given(rises, st.floats(0.01, 100.0))
def test_the_unit_of_a_signal_is_nothing(rise: dict[str, float], factor: float) -> None:
    """Seconds or milliseconds: the same order."""
    catalogue = make_catalogue({"shop": ["a", "b"], "a": ["c"], "b": ["d"]})
    courses = [latency(name, rise[name]) for name in SERVICES]
    scaled = [
        Course(course.service, course.signal, tuple((value or 0.0) * factor for value in course.values)) for course in courses
    ]
    assert names(rank_suspects(catalogue, "shop", scaled)) == names(rank_suspects(catalogue, "shop", courses))
