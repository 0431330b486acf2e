"""MQTT as a channel: one retained message an incident, and one that says whether the daemon lives.

`payload` makes topics and messages, `connection` holds one connection, `channel` keeps it and sends.
"""

from detector.adapters.mqtt.channel import Mqtt

__all__ = ["Mqtt"]
