"""What can be set: one frozen model, with a sub-model for each outside thing that may be configured or not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from detector.domain.duration import parse_duration

ROUTING_KEY_CHARACTERS = 32  # PagerDuty Events API v2, "routing_key"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: a host name or address, and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, IPv6 addresses in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _read_duration(value: object) -> object:
    seconds = parse_duration(value.strip()) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError("must be a duration; write for example 30s, 5m or 1h30m")  # noqa: TRY004 - pydantic collects ValueError
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _read_endpoint(value: object) -> object:
    if isinstance(value, Endpoint):
        return value
    host, colon, port = str(value).rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and host[0] + host[-1] != "[]"):  # noqa: PLR2004 - the highest TCP port
        raise ValueError("must be host:port, for example 127.0.0.1:9911 or [::1]:9911")
    return Endpoint(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - `:9911` asks for every address


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be a URL such as https://host:port/path")
    return value.rstrip("/")


def _check_secret_url(value: SecretStr) -> SecretStr:
    return SecretStr(_check_url(value.get_secret_value()))


def _check_address(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise ValueError("must be a mail address such as ann@example.org")
    return value


def _check_topic(value: str) -> str:
    clean = value.strip("/")
    if not clean or set(clean) & set("+#") or not clean.isprintable() or len(clean.encode()) > 1000:  # noqa: PLR2004 - MQTT allows 65535 bytes with the rest
        raise ValueError("must be a topic such as detector or ops/detector, without + and #")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Duration: TypeAlias = Annotated[float, BeforeValidator(_read_duration)]
Listen: TypeAlias = Annotated[Endpoint, BeforeValidator(_read_endpoint)]
Url: TypeAlias = Annotated[str, AfterValidator(_check_url)]
SecretUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_check_secret_url)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Level: TypeAlias = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)


class PrometheusSettings(_Part):
    """How Prometheus is asked, beside its URL."""

    username: str | None = None
    password: SecretStr | None = None
    bearer_token: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    ca_file: Path | None = None

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", value.get_secret_value()):
                raise ValueError("must be a JSON object of header names and one-line values")
        return headers

    @field_validator("ca_file")
    @classmethod
    def _check_file(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            raise ValueError("must be a readable file of PEM certificates")
        return path

    @model_validator(mode="after")
    def _check_one_way(self) -> PrometheusSettings:
        if self.bearer_token is not None and self.username is not None:
            raise ValueError("has both a username and a bearer token; keep one")
        if self.password is not None and self.username is None:
            raise ValueError("has a password and no username; set DETECTOR_PROMETHEUS__USERNAME")
        return self


class PagerDutySettings(_Part):
    """PagerDuty: routing keys by name (`default` is used where the catalogue names none), and its two APIs.

    `requester`: the address of the PagerDuty user in whose name owner and manager are asked to join at HIGH and CRITICAL, and
    what a diagnosis found is noted. `diagnosis`: how that reaches the page, as such a note or as one more trigger of the open key.
    """

    routing_keys: dict[str, SecretStr] = Field(default_factory=dict)
    events_url: Url = "https://events.pagerduty.com"
    rest_url: Url = "https://api.pagerduty.com"
    api_token: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    requester: Annotated[str, AfterValidator(_check_address)] | None = None
    page_from: Annotated[Literal["low", "medium", "high", "critical"], BeforeValidator(_lower)] = "medium"
    on_rise: Annotated[Literal["new_key", "same_key"], BeforeValidator(_lower)] = "new_key"
    diagnosis: Annotated[Literal["note", "trigger"], BeforeValidator(_lower)] = "note"

    @field_validator("webhook_secret", "api_token")
    @classmethod
    def _check_there(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not secret.get_secret_value().strip():
            raise ValueError("is empty; leave it out or give the value")
        return secret

    @model_validator(mode="after")
    def _check_requester(self) -> PagerDutySettings:
        if self.requester is not None and self.api_token is None:
            raise ValueError("has a requester and no API token to ask with; set DETECTOR_PAGERDUTY__API_TOKEN")
        return self

    @field_validator("routing_keys")
    @classmethod
    def _check_keys(cls, keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, key in keys.items():
            count = len(key.get_secret_value())
            if count != ROUTING_KEY_CHARACTERS:
                raise ValueError(f"key {name!r} must have {ROUTING_KEY_CHARACTERS} characters, this has {count}")
        return keys


class SlackSettings(_Part):
    """Slack: a bot token and the channel used where the catalogue names none."""

    token: SecretStr
    channel: str
    api_url: Url = "https://slack.com/api"


class EmailSettings(_Part):
    """Mail: the server, the sender, and who gets what."""

    host: str
    port: Port = 25
    sender: str
    username: str | None = None
    password: SecretStr | None = None
    on_call: tuple[str, ...] = ()
    stakeholders: tuple[str, ...] = ()


class MqttSettings(_Part):
    """MQTT: the broker and where topics begin."""

    host: str
    port: Port = 1883
    topic_prefix: Annotated[str, AfterValidator(_check_topic)] = "detector"
    username: str | None = None
    password: SecretStr | None = None


class WebhookSettings(_Part):
    """A signed JSON webhook; its URL is itself a secret for most receivers."""

    url: SecretUrl
    secret: SecretStr | None = None


class StatusPageSettings(_Part):
    """Atlassian Statuspage."""

    api_url: Url = "https://api.statuspage.io/v1"
    page_id: str
    token: SecretStr


CHANNELS = ("pagerduty", "slack", "email", "statuspage", "mqtt", "webhook")


def _default_state_dir() -> Path:
    # systemd gives several directories joined by colons
    return Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or "state")


class Settings(BaseSettings):
    """All settings, checked. Durations are seconds. A sub-model that is None was not configured: its adapter stays out."""

    model_config = SettingsConfigDict(
        env_prefix="DETECTOR_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    prometheus_url: Url = "http://127.0.0.1:9090"
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings)
    rules: Path = Path("rules")
    state_dir: Path = Field(default_factory=_default_state_dir)
    database_url: SecretStr | None = None
    lease_ttl: Annotated[Duration, Field(ge=3.0)] = 15.0
    listen: Listen = Endpoint("127.0.0.1", 9911)
    status_listen: Listen | None = None
    every: Duration = 5.0
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = "console"
    log_level: Level = "info"
    external_url: Url | None = None
    templates: Path | None = None
    pagerduty: PagerDutySettings = Field(default_factory=PagerDutySettings)
    slack: SlackSettings | None = None
    email: EmailSettings | None = None
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None
    statuspage: StatusPageSettings | None = None
    heartbeat_url: SecretUrl | None = None
    heartbeat_every: Duration = 60.0
    # not pagerduty, where a dead broker would wake somebody, nor a status page: nobody would end there what the fallback opened
    fallback: tuple[Literal["slack", "email", "mqtt", "webhook"], ...] = ("email",)
    fallback_after: Duration = 120.0
    blind_after: Duration = 120.0
    storm_threshold: Annotated[int, Field(ge=1)] = 20
    update_every: Duration = 1800.0
    escalate_after: Duration = 900.0
    customer_delay: Duration = 300.0
    drill_every: Duration | None = None
    mitigation_environment: tuple[str, ...] = ()
    read_token: SecretStr | None = None
    write_token: SecretStr | None = None
    url: Url | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_userinfo(cls, values: Any) -> Any:  # noqa: ANN401 - whatever the sources gave
        return _move_userinfo(values) if isinstance(values, dict) else values

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"postgres(ql)?://\S+", url.get_secret_value()):
            raise ValueError("must be postgresql://user:password@host/database; without it SQLite in DETECTOR_STATE_DIR is used")
        return url

    @model_validator(mode="after")
    def _check_fallback(self) -> Settings:
        for name in self.fallback if "fallback" in self.model_fields_set else ():
            if name not in self.channels:
                raise ValueError(f"DETECTOR_FALLBACK names {name}, which is not configured; set DETECTOR_{name.upper()}__...")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that are configured."""
        there = {name: getattr(self, name) is not None for name in CHANNELS} | {"pagerduty": bool(self.pagerduty.routing_keys)}
        return tuple(name for name in CHANNELS if there[name])

    @property
    def fallback_channels(self) -> tuple[str, ...]:
        """The fallback channels that are configured."""
        return tuple(name for name in self.fallback if name in self.channels)

    @property
    def daemon_url(self) -> str:
        """Where the command line finds the daemon: DETECTOR_URL, else http://DETECTOR_LISTEN."""
        return self.url or f"http://{_reachable(self.listen)}"

    @property
    def graph_url(self) -> str:
        """What links to a graph point to: where Prometheus is, without a name and password in it."""
        parts = urlsplit(self.prometheus_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    @property
    def page_url(self) -> str:
        """What links in pages point to."""
        return self.external_url or f"http://{self.listen}"

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for redaction."""
        return tuple(dict.fromkeys(_find_secrets(self)))


def _reachable(endpoint: Endpoint) -> Endpoint:
    try:
        anywhere = ip_address(endpoint.host).is_unspecified
    except ValueError:
        return endpoint
    return Endpoint("::1" if ":" in endpoint.host else "127.0.0.1", endpoint.port) if anywhere else endpoint


def _move_userinfo(values: dict[str, Any]) -> dict[str, Any]:
    """Take user and password out of the Prometheus URL, which is logged and shown, into the fields that are not."""
    text = values.get("prometheus_url")
    try:
        parts = urlsplit(text) if isinstance(text, str) else None
    except ValueError:
        return values
    if parts is None or "@" not in parts.netloc:
        return values
    userinfo, _, host = parts.netloc.rpartition("@")
    username, colon, password = userinfo.partition(":")
    taken = {"username": unquote(username)} | ({"password": unquote(password)} if colon else {})
    known = values.get("prometheus")
    return values | {
        "prometheus_url": urlunsplit(parts._replace(netloc=host)),
        "prometheus": taken | (dict(known) if isinstance(known, Mapping) else {}),
    }


def _find_secrets(value: object) -> list[str]:
    match value:
        case SecretStr():
            return [value.get_secret_value()]
        case BaseModel():
            return [secret for name in type(value).model_fields for secret in _find_secrets(getattr(value, name))]
        case dict():
            return [secret for held in value.values() for secret in _find_secrets(held)]
        case _:
            return []
