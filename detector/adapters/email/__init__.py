"""Mail as a channel, to two audiences: the people on call get every fact, stakeholders get what customers may know.

`wording` holds the texts, `message` makes the mail, `session` hands it to the server, `channel` sends.
"""

from detector.adapters.email.channel import Email

__all__ = ["Email"]
