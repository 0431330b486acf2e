"""What to do with the demo while it runs on, and what to do after it.

Before it: `story` has shown everything. After it: the user's own Prometheus.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.cli.demo.screen import Screen
    from detector.standin.stage import Stage


def tell_addresses(stage: Stage, screen: Screen) -> None:
    """Where every part listens, and how to break and repair a service by hand."""
    tell, shop, detector = screen.tell, stage.shop.url, stage.daemon_url
    tell("\nEverything runs on until Ctrl-C:", style="bold")
    tell(f"  Prometheus  {stage.prometheus_url}")
    tell(f"  shop        {shop}/faults  {shop}/metrics")
    tell(f'    break     curl -d \'{{"service": "search", "error_ratio": 0.1}}\' {shop}/faults')
    tell(f"    repair    curl -X DELETE {shop}/faults")
    tell(f"  PagerDuty   {stage.pagerduty.url}/alerts  {stage.pagerduty.url}/requests")
    tell(f"  detector    {detector}/ (the console)  {detector}/api/v1/incidents  {detector}/metrics")
    tell(f"  rules       {stage.rulebook.folder} (an edited file is read at once)")
    tell(f"  log         {stage.folder / 'detector.log'}\n")


def tell_next(stage: Stage, screen: Screen) -> None:
    """How to point the daemon at one's own Prometheus."""
    tell, command = screen.tell, name_command()
    tell("\nNext, with your own Prometheus:", style="bold")
    if not Path("rules/http.yaml").is_file():
        tell(f"  mkdir -p rules && cp {shlex.quote(str(stage.rulebook.shipped))}/*.yaml rules/")
    tell(f"  {command} check rules")
    tell("  export DETECTOR_PROMETHEUS_URL=http://your-prometheus:9090")
    tell('  export DETECTOR_PAGERDUTY__ROUTING_KEYS=\'{"default": "<32 characters of an Events API v2 integration>"}\'')
    tell(f"  {command} run")
    tell(f"README.md says the rest. To play with this demo: {command} demo --keep")


def name_command() -> str:
    """How the user called this program."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m detector"
    found = shutil.which(called.name)
    if not called.exists() or (found is not None and called.samefile(found)):
        return called.name
    return shlex.quote(os.path.relpath(called))
