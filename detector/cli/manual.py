"""What `--help` says below the options: examples that run, exit codes, the environment. Read only when help is asked for.

A test parses every example with the command's own parser, so that none of them lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_ENVIRONMENT = {
    "DETECTOR_URL": "where the daemon answers; default http://DETECTOR_LISTEN",
    "DETECTOR_LISTEN": "address of the daemon's HTTP side; default 127.0.0.1:9911",
    "DETECTOR_READ_TOKEN": "sent with what only reads, where the daemon asks for one",
    "DETECTOR_WRITE_TOKEN": "sent with what changes something",
    "DETECTOR_PROMETHEUS_URL": "where metrics are asked; default http://127.0.0.1:9090",
    "DETECTOR_RULES": "rule files, a directory or one file; default ./rules",
    "DETECTOR_EVERY": "how often rules are evaluated that do not say; default 5s",
    "DETECTOR_STATE_DIR": "where SQLite lies; default $STATE_DIRECTORY, else ./state",
    "DETECTOR_*": "every other setting; docs/operations.md lists them with their defaults",
    "USER": "who does it, unless --by says",
}
_READS = ("DETECTOR_URL", "DETECTOR_READ_TOKEN")
_WRITES = ("DETECTOR_URL", "DETECTOR_WRITE_TOKEN", "USER")
_RULES = ("DETECTOR_RULES", "DETECTOR_EVERY")
_ASKED = MappingProxyType(
    {0: "done", 1: "the daemon cannot be reached, or says no; one line says why", 2: "usage or settings error"}
)


@dataclass(frozen=True, slots=True)
class Manual:
    """Of one command: examples with what they do, exit codes, names of the environment."""

    examples: Mapping[str, str]
    environment: tuple[str, ...]
    exits: Mapping[int, str]


def _tell(*examples: str, environment: tuple[str, ...] = _READS, exits: Mapping[int, str] = _ASKED) -> Manual:
    """`examples` are command and meaning in turns."""
    return Manual(dict(zip(examples[::2], examples[1::2], strict=True)), environment, exits)


MANUALS = {
    "detector": _tell(
        *("detector init --prometheus http://127.0.0.1:9090", "writes starting rules for what that Prometheus sees"),
        *("detector run", "runs the daemon on ./rules"),
        *("detector incidents list --status open", "what is wrong now"),
        *("detector --install-completion", "completes commands, ids and names in bash, zsh and fish"),
        environment=("DETECTOR_URL", "DETECTOR_RULES", "DETECTOR_PROMETHEUS_URL", "DETECTOR_*"),
        exits={0: "done", 1: "findings or failure", 2: "usage or settings error", 3: "over a limit"},
    ),
    "detector run": _tell(
        *("detector run", "with all settings from the environment and detector.yaml"),
        *("DETECTOR_PROMETHEUS_URL=http://prometheus:9090 DETECTOR_RULES=/etc/detector/rules detector run", "the two most used"),
        environment=("DETECTOR_PROMETHEUS_URL", "DETECTOR_RULES", "DETECTOR_STATE_DIR", "DETECTOR_LISTEN", "DETECTOR_*"),
        exits={0: "ended by SIGTERM or SIGINT", 1: "the store cannot be used", 2: "settings or rules error, or the port is taken"},
    ),
    "detector init": _tell(
        *("detector init --prometheus http://127.0.0.1:9090", "into ./rules"),
        *("detector init /etc/detector/rules --force", "from the Prometheus of the settings, over what is there"),
        environment=("DETECTOR_PROMETHEUS_URL",),
        exits={0: "written", 1: "Prometheus cannot be asked, or nothing known is there", 2: "files are there already"},
    ),
    "detector check": _tell(
        *("detector check", "the rules of the settings"),
        *("detector check --prometheus http://127.0.0.1:9090 rules/", "tries every query too"),
        *("detector check --format github rules/", "findings as annotations of a pull request"),
        environment=(*_RULES, "DETECTOR_PROMETHEUS_URL"),
        exits={0: "all is well", 1: "findings", 2: "usage or settings error"},
    ),
    "detector test": _tell(
        *("detector test", "every *.test.yaml beside the rules of the settings"),
        *("detector test --json rules/http.test.yaml", "one file, for programs"),
        environment=_RULES,
        exits={0: "all pass", 1: "a test fails", 2: "usage error, or no prometheus binary"},
    ),
    "detector backtest": _tell(
        *("detector backtest --last 30d", "what the rules would have done in the past month"),
        *(
            "detector backtest --compare main --markdown --max-pages 5 rules/",
            "in a merge request: what changes, and 3 if too loud",
        ),
        *("detector backtest --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --plot week.svg", "one week as a picture"),
        environment=(*_RULES, "DETECTOR_PROMETHEUS_URL"),
        exits={
            0: "done",
            1: "findings in the rules, or the past could not be read",
            2: "usage or settings error",
            3: "over --max-pages",
        },
    ),
    "detector explain": _tell(
        *("detector explain http-errors", "that rule of the settings' files"),
        *("detector explain http-errors rules/http.yaml --json", "from one file, for programs"),
        environment=_RULES,
        exits={0: "done", 2: "no such rule, or rules that cannot be loaded"},
    ),
    "detector schema": _tell(
        *("detector schema > rules/schema.json", "for editors that complete and check"),
        environment=(),
        exits={0: "done"},
    ),
    "detector diagnose": _tell(
        *("detector diagnose checkout", "what is wrong with it now"),
        *("detector diagnose checkout --at 2026-11-23T08:00:00Z --json", "what was wrong then, for programs"),
        environment=("DETECTOR_PROMETHEUS_URL", *_RULES, *_READS),
        exits={0: "every check is ok or unknown", 1: "something is bad", 2: "usage, settings or rules error"},
    ),
    "detector deploys": _tell(
        *("detector deploys add checkout v42", "told by a pipeline's last step"),
        *("detector deploys list --service checkout", "the newest first"),
        environment=("DETECTOR_URL", "DETECTOR_READ_TOKEN", "DETECTOR_WRITE_TOKEN"),
    ),
    "detector deploys add": _tell(
        *("detector deploys add checkout v42 --url https://ci.example/run/7", "deployed now, by $USER"), environment=_WRITES
    ),
    "detector deploys list": _tell(*("detector deploys list --service checkout --limit 5", "its last five")),
    "detector incidents": _tell(
        *("detector incidents", "lists them"),
        *('detector incidents ack $ID --text "looking at it"', "you have it"),
        environment=("DETECTOR_URL", "DETECTOR_READ_TOKEN", "DETECTOR_WRITE_TOKEN", "USER"),
    ),
    "detector incidents list": _tell(
        *("detector incidents list --status open --status acknowledged", "what is not over"),
        *("detector incidents list --service checkout --limit 1000 --json", "for programs"),
    ),
    "detector incidents show": _tell(*("detector incidents show $ID", "facts and timeline")),
    "detector incidents ack": _tell(
        *('detector incidents ack $ID --by ann --text "looking at it"', "PagerDuty is told, and calls nobody else"),
        environment=_WRITES,
    ),
    "detector incidents resolve": _tell(
        *('detector incidents resolve $ID --text "a false alarm"', "it is over, whatever the metrics say"), environment=_WRITES
    ),
    "detector incidents note": _tell(*('detector incidents note $ID "the pool is full"', "one line more"), environment=_WRITES),
    "detector incidents cause": _tell(
        *('detector incidents cause $ID "connection pool of 10"', "for the post-mortem and the status page"), environment=_WRITES
    ),
    "detector incidents update": _tell(
        *('detector incidents update $ID -m "Rolling back." --eta 10m --state identified', "the status page follows"),
        environment=_WRITES,
    ),
    "detector incidents tick": _tell(
        *('detector incidents tick $ID "support channel quiet"', "you have seen it"), environment=_WRITES
    ),
    "detector incidents mitigate": _tell(
        *("detector incidents mitigate $ID", "lists what can be run"),
        *("detector incidents mitigate $ID revert --by ann --yes", "runs it"),
        environment=("DETECTOR_URL", "DETECTOR_WRITE_TOKEN"),
        exits={0: "listed, shown, or run with exit code 0", 1: "it failed, or the daemon says no", 2: "usage or settings error"},
    ),
    "detector incidents postmortem": _tell(
        *("detector incidents postmortem $ID > postmortem.md", "the draft"),
        *("detector incidents postmortem $ID --done", "it is filled in"),
        environment=("DETECTOR_URL", "DETECTOR_READ_TOKEN", "DETECTOR_WRITE_TOKEN", "USER"),
    ),
    "detector incidents follow-ups": _tell(*("detector incidents follow-ups --all", "those that are done, too")),
    "detector incidents replay": _tell(
        *("detector incidents replay $ID --rules rules/", "earlier or later, had these been the rules"),
        environment=(*_READS, "DETECTOR_PROMETHEUS_URL"),
    ),
    "detector incidents why": _tell(*("detector incidents why $ID", "why it paged, and why it did not")),
    "detector silence": _tell(
        *("detector silence add service=checkout --duration 2h --reason migration", "quiet for two hours"),
        *("detector silence list", "what is muted"),
        environment=("DETECTOR_URL", "DETECTOR_READ_TOKEN", "DETECTOR_WRITE_TOKEN", "USER"),
    ),
    "detector silence add": _tell(
        *('detector silence add service=checkout severity=~"low|medium" -d 2h -c migration', "as amtool would"),
        *("detector silence add service=checkout -d 10m -c deploy --lease --id deploy-42", "renewed by the same command"),
        environment=_WRITES,
    ),
    "detector silence list": _tell(*("detector silence list --all --json", "those that ended, too, for programs")),
    "detector silence expire": _tell(*("detector silence expire $ID", "by the id that `list` prints"), environment=_WRITES),
    "detector doctor": _tell(
        *("detector doctor --json", "for programs"),
        environment=("DETECTOR_*",),
        exits={0: "nothing is missing", 1: "something is", 2: "settings error"},
    ),
    "detector drill": _tell(
        *("detector drill --by ann", "one marked incident through every channel"),
        environment=_WRITES,
        exits={0: "every channel passed", 1: "one failed, or the daemon cannot be reached", 2: "usage or settings error"},
    ),
    "detector demo": _tell(
        *("detector demo", "two minutes"),
        *("detector demo --keep", "and all of it stays, until Ctrl-C"),
        environment=(),
        exits={0: "done", 1: "a step failed", 2: "no prometheus binary"},
    ),
}


def write_manual(path: str, formatter: Any) -> None:  # noqa: ANN401 - a help formatter of click's
    """Write the sections of one command; nothing for a path that has none."""
    found = MANUALS.get(path)
    if found is None:
        return
    with formatter.section("Examples"):
        for line, meaning in found.examples.items():
            formatter.write(f"  {line}\n      {meaning}\n")
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), words) for code, words in found.exits.items()])
    with formatter.section("Environment"):
        formatter.write_dl([(name, _ENVIRONMENT[name]) for name in found.environment] or [("none", "it reads no setting")])
