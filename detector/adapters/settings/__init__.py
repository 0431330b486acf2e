"""The settings: environment, `detector.yaml` and a secrets directory, read once at start.

`model` says what there is, `source` where values come from, `fault` how a wrong one is told in one line.
"""

from detector.adapters.settings.fault import WrongSettingsError
from detector.adapters.settings.load import load_settings
from detector.adapters.settings.model import (
    EmailSettings,
    Endpoint,
    MqttSettings,
    PagerDutySettings,
    PrometheusSettings,
    Settings,
    SlackSettings,
    StatusPageSettings,
    WebhookSettings,
)

__all__ = [
    "EmailSettings",
    "Endpoint",
    "MqttSettings",
    "PagerDutySettings",
    "PrometheusSettings",
    "Settings",
    "SlackSettings",
    "StatusPageSettings",
    "WebhookSettings",
    "WrongSettingsError",
    "load_settings",
]
