"""The settings: every source, every default, and the exact line of every fault."""

import os
from pathlib import Path

import pytest

from detector.adapters.settings import Endpoint, Settings, WrongSettingsError, load_settings
from tests.kit.secret import assert_no_secret

KEY = "k" * 32
SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def _faults(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(WrongSettingsError) as caught:
        load_settings(environ)
    return caught.value.lines


def test_nothing_set_gives_the_documented_defaults() -> None:
    """Without any setting the defaults are those of the documentation, and no channel is configured."""
    settings = load_settings({})
    assert settings.prometheus_url == "http://127.0.0.1:9090"
    assert (settings.rules, settings.state_dir) == (Path("rules"), Path("state"))
    assert settings.listen == Endpoint("127.0.0.1", 9911)
    assert (settings.every, settings.log_format, settings.log_level) == (5.0, "console", "info")
    assert (settings.fallback, settings.fallback_after) == (("email",), 120.0)
    assert (settings.blind_after, settings.storm_threshold, settings.update_every) == (120.0, 20, 1800.0)
    assert (settings.pagerduty.page_from, settings.pagerduty.on_rise) == ("medium", "new_key")
    assert (settings.status_listen, settings.database_url, settings.heartbeat_url) == (None, None, None)
    assert settings.channels == settings.fallback_channels == settings.secrets() == ()
    assert settings.daemon_url == "http://127.0.0.1:9911"


def test_every_documented_name_is_read() -> None:
    """Each name of the documentation sets its field, with nested names, lists, objects and durations."""
    settings = load_settings(
        {
            "DETECTOR_PROMETHEUS_URL": "https://prom:9090/prefix/",
            "DETECTOR_PROMETHEUS__BEARER_TOKEN": SECRET,
            "DETECTOR_PROMETHEUS__HEADERS": '{"X-Scope-OrgID": "shop"}',
            "DETECTOR_RULES": "/etc/rules",
            "DETECTOR_STATE_DIR": "/var/lib/x",
            "DETECTOR_DATABASE_URL": "postgresql://me:secret@db/detector",
            "DETECTOR_LISTEN": "[::1]:80",
            "DETECTOR_STATUS_LISTEN": ":8080",
            "DETECTOR_EVERY": "1m30s",
            "DETECTOR_LOG_FORMAT": "JSON",
            "DETECTOR_EXTERNAL_URL": "https://detector.example/",
            "DETECTOR_PAGERDUTY__ROUTING_KEYS": f'{{"default": "{KEY}"}}',
            "DETECTOR_PAGERDUTY__ROUTING_KEYS__PAYMENTS": "p" * 32,
            "DETECTOR_PAGERDUTY__EVENTS_URL": "https://events.eu.pagerduty.com",
            "DETECTOR_PAGERDUTY__PAGE_FROM": "high",
            "DETECTOR_PAGERDUTY__ON_RISE": "same_key",
            "DETECTOR_SLACK__TOKEN": "xoxb-1234",
            "DETECTOR_SLACK__CHANNEL": "#incidents",
            "DETECTOR_EMAIL__HOST": "mail",
            "DETECTOR_EMAIL__SENDER": "detector@example.org",
            "DETECTOR_EMAIL__ON_CALL": '["a@example.org"]',
            "DETECTOR_MQTT__HOST": "broker",
            "DETECTOR_WEBHOOK__URL": "https://hook.example/abc",
            "DETECTOR_STATUSPAGE__PAGE_ID": "p1",
            "DETECTOR_STATUSPAGE__TOKEN": "tttt",
            "DETECTOR_HEARTBEAT_URL": "https://beat.example/1",
            "DETECTOR_HEARTBEAT_EVERY": "30s",
            "DETECTOR_FALLBACK": '["slack", "email"]',
            "DETECTOR_STORM_THRESHOLD": "5",
            "DETECTOR_READ_TOKEN": "rrrr",
            "DETECTOR_WRITE_TOKEN": "wwww",
            "DETECTOR_URL": "http://daemon:1",
        }
    )
    assert (settings.prometheus_url, settings.every, settings.log_format) == ("https://prom:9090/prefix", 90.0, "json")
    assert settings.prometheus.headers["X-Scope-OrgID"].get_secret_value() == "shop"
    assert (settings.listen, settings.status_listen) == (Endpoint("::1", 80), Endpoint("0.0.0.0", 8080))  # noqa: S104 - what `:8080` means
    assert {name: key.get_secret_value() for name, key in settings.pagerduty.routing_keys.items()} == {
        "default": KEY,
        "payments": "p" * 32,
    }
    assert settings.channels == ("pagerduty", "slack", "email", "statuspage", "mqtt", "webhook")
    assert settings.fallback_channels == ("slack", "email")
    assert settings.email is not None
    assert settings.email.on_call == ("a@example.org",)
    assert settings.daemon_url == "http://daemon:1"
    assert {SECRET, KEY, "xoxb-1234", "rrrr", "wwww", "https://hook.example/abc", "tttt"} <= set(settings.secrets())
    assert_no_secret([SECRET, KEY, "postgresql://me:secret@db/detector", "xoxb-1234"], repr(settings), settings.model_dump_json())


def test_credentials_in_the_prometheus_url_are_taken_out_of_it() -> None:
    """User and password of the URL become settings of their own, so that the URL may be logged."""
    settings = load_settings({"DETECTOR_PROMETHEUS_URL": "http://me:p%40ss%3Aword@prom:9090/pre"})
    assert settings.prometheus_url == "http://prom:9090/pre"
    assert settings.prometheus.username == "me"
    assert settings.prometheus.password is not None
    assert settings.prometheus.password.get_secret_value() == "p@ss:word"


def test_a_file_beats_the_environment_and_that_beats_the_yaml_file(tmp_path: Path) -> None:
    """A secrets directory wins over the environment, which wins over detector.yaml, which wins over the default."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "detector_write_token").write_text("from-file\n")
    (secrets / "DETECTOR_PAGERDUTY__ROUTING_KEYS").write_text(f'{{"default": "{KEY}"}}\n')
    (secrets / "..data").write_text("not ours")
    (tmp_path / "detector.yaml").write_text(
        "every: 10s\nstorm_threshold: 7\nwrite_token: from-yaml\nslack: {token: xoxb, channel: c}\n"
    )
    environ = {"DETECTOR_WRITE_TOKEN": "from-environment", "DETECTOR_EVERY": "20s", "CREDENTIALS_DIRECTORY": str(secrets)}
    settings = load_settings(environ)
    assert settings.write_token is not None
    assert settings.write_token.get_secret_value() == "from-file"
    assert (settings.every, settings.storm_threshold) == (20.0, 7)
    assert settings.channels == ("pagerduty", "slack")


def test_the_state_directory_of_systemd_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """$STATE_DIRECTORY, of which systemd may give several, is used where nothing is set."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/detector:/var/lib/other")
    assert load_settings({}).state_dir == Path("/var/lib/detector")


def test_names_that_others_put_there_are_left_alone() -> None:
    """Names of the tests, of binaries and of a Kubernetes Service called detector are no faults; an empty value is not set."""
    environ = {
        "DETECTOR_TEST_WHEEL": "1",
        "DETECTOR_PROMETHEUS_BIN": "/usr/bin/prometheus",
        "DETECTOR_SERVICE_HOST": "10.0.0.1",
        "DETECTOR_SERVICE_PORT_HTTP": "9911",
        "DETECTOR_PORT": "tcp://10.0.0.1:9911",
        "DETECTOR_PORT_9911_TCP_ADDR": "10.0.0.1",
        "DETECTOR_EVERY": "",
    }
    assert load_settings(environ).every == 5.0


ENVIRONMENT_FAULTS = {
    "unknown": ({"DETECTOR_EVRY": "5s"}, "DETECTOR_EVRY is not a setting; did you mean DETECTOR_EVERY?"),
    "unknown nested": (
        {"DETECTOR_PAGERDUTY__ROUTING_KEY": KEY},
        "DETECTOR_PAGERDUTY__ROUTING_KEY is not a setting; did you mean DETECTOR_PAGERDUTY__ROUTING_KEYS?",
    ),
    "single underscore": (
        {"DETECTOR_SLACK_TOKEN": SECRET},
        "DETECTOR_SLACK_TOKEN is not a setting; did you mean DETECTOR_SLACK__TOKEN?",
    ),
    "unlike anything": ({"DETECTOR_XYZZY_QQ": "1"}, "DETECTOR_XYZZY_QQ is not a setting"),
    "group": (
        {"DETECTOR_EMAIL": "x"},
        "DETECTOR_EMAIL holds several settings; set them one by one, for example DETECTOR_EMAIL__HOST",
    ),
    "duration": ({"DETECTOR_EVERY": "5 parsecs"}, "DETECTOR_EVERY must be a duration; write for example 30s, 5m or 1h30m"),
    "bare number": ({"DETECTOR_EVERY": "5"}, "DETECTOR_EVERY must be a duration; write for example 30s, 5m or 1h30m"),
    "zero": ({"DETECTOR_BLIND_AFTER": "0s"}, "DETECTOR_BLIND_AFTER must be longer than 0s"),
    "listen": ({"DETECTOR_LISTEN": "9911"}, "DETECTOR_LISTEN must be host:port, for example 127.0.0.1:9911 or [::1]:9911"),
    "port": ({"DETECTOR_LISTEN": "h:70000"}, "DETECTOR_LISTEN must be host:port, for example 127.0.0.1:9911 or [::1]:9911"),
    "url": ({"DETECTOR_PROMETHEUS_URL": "prom:9090"}, "DETECTOR_PROMETHEUS_URL must be a URL such as https://host:port/path"),
    "secret url": ({"DETECTOR_HEARTBEAT_URL": SECRET}, "DETECTOR_HEARTBEAT_URL must be a URL such as https://host:port/path"),
    "database": (
        {"DETECTOR_DATABASE_URL": f"mysql://u:{SECRET}@h/d"},
        "DETECTOR_DATABASE_URL must be postgresql://user:password@host/database; without it SQLite in DETECTOR_STATE_DIR is used",
    ),
    "words": ({"DETECTOR_LOG_FORMAT": "xml"}, "DETECTOR_LOG_FORMAT must be console or json"),
    "level": ({"DETECTOR_LOG_LEVEL": "loud"}, "DETECTOR_LOG_LEVEL must be debug, info, warning or error"),
    "severity": ({"DETECTOR_PAGERDUTY__PAGE_FROM": "sev1"}, "DETECTOR_PAGERDUTY__PAGE_FROM must be low, medium, high or critical"),
    "number": ({"DETECTOR_STORM_THRESHOLD": "many"}, "DETECTOR_STORM_THRESHOLD must be a whole number"),
    "too short": ({"DETECTOR_LEASE_TTL": "1s"}, "DETECTOR_LEASE_TTL must be at least 3s"),
    "too small": ({"DETECTOR_STORM_THRESHOLD": "0"}, "DETECTOR_STORM_THRESHOLD must be at least 1"),
    "mail port": (
        {"DETECTOR_EMAIL__HOST": "h", "DETECTOR_EMAIL__SENDER": "s", "DETECTOR_EMAIL__PORT": "99999"},
        "DETECTOR_EMAIL__PORT must be at most 65535",
    ),
    "short key": (
        {"DETECTOR_PAGERDUTY__ROUTING_KEYS": f'{{"payments": "{SECRET}"}}'},
        "DETECTOR_PAGERDUTY__ROUTING_KEYS key 'payments' must have 32 characters, this has 15",
    ),
    "not JSON": (
        {"DETECTOR_PAGERDUTY__ROUTING_KEYS": KEY},
        'DETECTOR_PAGERDUTY__ROUTING_KEYS must be a JSON object such as {"default": "..."}',
    ),
    "not a list": ({"DETECTOR_FALLBACK": "slack"}, 'DETECTOR_FALLBACK must be a JSON list such as ["a", "b"]'),
    "half a channel": ({"DETECTOR_SLACK__TOKEN": SECRET}, "DETECTOR_SLACK__CHANNEL is missing"),
    "fallback": (
        {"DETECTOR_FALLBACK": '["slack"]'},
        "DETECTOR_FALLBACK names slack, which is not configured; set DETECTOR_SLACK__...",
    ),
    "fallback to a page": ({"DETECTOR_FALLBACK": '["pagerduty"]'}, "DETECTOR_FALLBACK must be slack, email, mqtt or webhook"),
    "fallback to the public": ({"DETECTOR_FALLBACK": '["statuspage"]'}, "DETECTOR_FALLBACK must be slack, email, mqtt or webhook"),
    "two ways in": (
        {"DETECTOR_PROMETHEUS__BEARER_TOKEN": SECRET, "DETECTOR_PROMETHEUS_URL": f"http://u:{SECRET}@h"},
        "DETECTOR_PROMETHEUS has both a username and a bearer token; keep one",
    ),
    "password alone": (
        {"DETECTOR_PROMETHEUS__PASSWORD": SECRET},
        "DETECTOR_PROMETHEUS has a password and no username; set DETECTOR_PROMETHEUS__USERNAME",
    ),
    "header": (
        {"DETECTOR_PROMETHEUS__HEADERS": '{"X-A": "b\\r\\nX-C: d"}'},
        "DETECTOR_PROMETHEUS__HEADERS must be a JSON object of header names and one-line values",
    ),
    "authority": (
        {"DETECTOR_PROMETHEUS__CA_FILE": "/nowhere.pem"},
        "DETECTOR_PROMETHEUS__CA_FILE must be a readable file of PEM certificates",
    ),
    "no secrets directory": (
        {"DETECTOR_SECRETS_DIR": "/nowhere"},
        "secrets directory /nowhere cannot be read: No such file or directory",
    ),
    "no file": ({"DETECTOR_CONFIG": "/nowhere.yaml"}, "/nowhere.yaml cannot be read: No such file or directory"),
    "requester": (
        {"DETECTOR_PAGERDUTY__REQUESTER": "ann", "DETECTOR_PAGERDUTY__API_TOKEN": SECRET},
        "DETECTOR_PAGERDUTY__REQUESTER must be a mail address such as ann@example.org",
    ),
    "requester alone": (
        {"DETECTOR_PAGERDUTY__REQUESTER": "ann@example.org"},
        "DETECTOR_PAGERDUTY has a requester and no API token to ask with; set DETECTOR_PAGERDUTY__API_TOKEN",
    ),
    "webhook secret": (
        {"DETECTOR_PAGERDUTY__WEBHOOK_SECRET": " "},
        "DETECTOR_PAGERDUTY__WEBHOOK_SECRET is empty; leave it out or give the value",
    ),
}


@pytest.mark.parametrize(("environ", "line"), ENVIRONMENT_FAULTS.values(), ids=ENVIRONMENT_FAULTS.keys())
def test_a_wrong_setting_is_told_in_one_line(environ: dict[str, str], line: str) -> None:
    """Each fault gives exactly its line, and the line holds no value."""
    assert _faults(environ) == (line,)
    assert_no_secret([SECRET, KEY], *_faults(environ))


YAML_FAULTS = {
    "unknown": ("evry: 5s", "detector.yaml: evry is not a setting; did you mean every?"),
    "unknown nested": ("slack: {tokn: x}", "detector.yaml: slack.tokn is not a setting; did you mean slack.token?"),
    "value": ("every: 5", "detector.yaml: every must be a duration; write for example 30s, 5m or 1h30m"),
    "group": ("email: here", "detector.yaml: email must hold settings by name, not one value"),
    "list": ("- a", "detector.yaml must hold settings by name, for example `every: 5s`"),
    "syntax": (f"write_token: [{SECRET}", "detector.yaml:1:30 is not valid YAML"),
    "type": ("fallback: email", 'detector.yaml: fallback must be a JSON list such as ["a", "b"]'),
}


@pytest.mark.parametrize(("text", "line"), YAML_FAULTS.values(), ids=YAML_FAULTS.keys())
def test_a_fault_in_the_yaml_file_names_the_file(tmp_path: Path, text: str, line: str) -> None:
    """Faults of detector.yaml name the file and the dotted key."""
    (tmp_path / "detector.yaml").write_text(text)
    assert _faults({}) == (line,)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Faults of all sources come in one go, each with the name that the user wrote."""
    secrets = tmp_path / "s"
    secrets.mkdir()
    (secrets / "detector_pagerduty__routing_keys").write_text(f'{{"default": "{SECRET}"}}')
    (tmp_path / "detector.yaml").write_text("listen: here\n")
    lines = _faults({"DETECTOR_SECRETS_DIR": str(secrets), "DETECTOR_EVERY": "soon", "DETECTOR_FOO": "1"})
    assert set(lines) == {
        "DETECTOR_FOO is not a setting",
        "detector.yaml: listen must be host:port, for example 127.0.0.1:9911 or [::1]:9911",
        "DETECTOR_EVERY must be a duration; write for example 30s, 5m or 1h30m",
        f"DETECTOR_PAGERDUTY__ROUTING_KEYS ({secrets}) key 'default' must have 32 characters, this has 15",
    }


def test_a_secret_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A secret file that is too large or not text is a fault that names the file."""
    (tmp_path / "DETECTOR_READ_TOKEN").write_bytes(b"\xff\xfe")
    (tmp_path / "DETECTOR_WRITE_TOKEN").write_bytes(b"x" * 70_000)
    assert _faults({"DETECTOR_SECRETS_DIR": str(tmp_path)}) == (
        f"{tmp_path}/DETECTOR_READ_TOKEN is not UTF-8 text",
        f"{tmp_path}/DETECTOR_WRITE_TOKEN is larger than 65536 bytes: not a secret",
    )


def test_settings_cannot_be_changed() -> None:
    """The settings are frozen."""
    settings: Settings = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.every = 1.0


def test_an_unspecified_address_is_reached_by_loopback() -> None:
    """The command line turns 0.0.0.0, on which one can listen and not connect everywhere, into 127.0.0.1."""
    assert load_settings({"DETECTOR_LISTEN": "0.0.0.0:1"}).daemon_url == "http://127.0.0.1:1"
    assert load_settings({"DETECTOR_LISTEN": "[::]:1"}).daemon_url == "http://[::1]:1"


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument os.environ is read."""
    for name in [name for name in os.environ if name.startswith("DETECTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DETECTOR_EVERY", "7s")
    assert load_settings().every == 7.0
