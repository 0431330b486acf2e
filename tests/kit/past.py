"""The healthy past of a shop as OpenMetrics text, made by the shop's own traffic, so that its live counters continue it exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.kit.standin import Shop

STEP_SECONDS = 5.0


def write_past(shop: Shop, pass_time: Callable[[float], None], end: float, seconds: float, target_labels: Mapping[str, str]) -> str:
    """Scrapes every 5 s over `seconds` before `end` (unix seconds); `pass_time` sets the shop's clock to so long before the end."""
    families: dict[str, list[str]] = {}
    for step in range(int(seconds / STEP_SECONDS)):
        before_end = seconds - step * STEP_SECONDS
        pass_time(before_end)
        for family in text_string_to_metric_families(shop.metrics().decode()):
            for sample in family.samples:
                pairs = ",".join(f'{name}="{text}"' for name, text in {**sample.labels, **target_labels}.items())
                families.setdefault(sample.name, []).append(f"{sample.name}{{{pairs}}} {sample.value!r} {end - before_end:.3f}")
    return "\n".join(line for lines in families.values() for line in lines)
