"""The bytes of one mail: headers that nothing can be smuggled into, and a text in quoted-printable, pure ASCII on the wire.

Before it: `wording` made subject and body. After it: `session` hands the bytes to the server. Pure.

A mail's own id comes from its notice, so that a repetition after a lost answer is recognised as the same mail. All mails of an
incident refer to one id made from the incident's key, whether or not a mail bears it: readers group by it (RFC 5322, 3.6.4), also
where the first mail was lost or went out before a restart.
"""

from __future__ import annotations

import email.policy
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from detector.domain.text import clean_line, clean_text, cut_text

MAX_SUBJECT_CHARACTERS = 160
MAX_BODY_CHARACTERS = 20_000
UNDISCLOSED = "undisclosed-recipients:;"
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9._-]{1,100}@[A-Za-z0-9.-]{1,250}>")
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Letter:
    """What one mail says. `recipients` are shown in the header only where `is_open_list`."""

    notice: str
    thread: str
    sender: str
    recipients: Sequence[str]
    subject: str
    body: str
    at: float
    is_first: bool = False
    is_open_list: bool = True
    answers: str = ""


def write_letter(letter: Letter) -> bytes:
    """The mail as it goes over the wire, CRLF line ends, ASCII only."""
    domain = find_domain(letter.sender)
    root = name_thread(letter.thread, domain)
    parent = letter.answers if _MESSAGE_ID.fullmatch(letter.answers) else root
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = letter.sender
    message["To"] = ", ".join(letter.recipients) if letter.is_open_list else UNDISCLOSED
    message["Subject"] = fit_subject(letter.subject)
    message["Date"] = formatdate(letter.at)
    message["Message-ID"] = name_message(letter.notice, domain)
    if not letter.is_first:
        message["In-Reply-To"] = parent
    message["References"] = root if parent == root else f"{root} {parent}"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    body = cut_text(clean_text(letter.body).strip("\n"), MAX_BODY_CHARACTERS)
    message.set_content(body + "\n", charset="utf-8", cte="quoted-printable")
    return message.as_bytes()


def fit_subject(text: str) -> str:
    """One clean line of at most 160 characters; never empty."""
    return cut_text(clean_line(text), MAX_SUBJECT_CHARACTERS) or "incident"


def name_message(notice: str, domain: str) -> str:
    """`<notice id@domain>`."""
    return f"<{_name(notice)}@{domain}>"


def name_thread(key: str, domain: str) -> str:
    """The id that all mails of an incident to one audience refer to."""
    return f"<incident-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}@{domain}>"


def find_domain(sender: str) -> str:
    """The sender's domain in ASCII; `localhost` where it has none that can stand in a header."""
    domain = sender.strip().rstrip(">").rpartition("@")[2]
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return "localhost"
    return ascii_domain if re.fullmatch(r"[A-Za-z0-9.-]{1,250}", ascii_domain) else "localhost"


def _name(notice: str) -> str:
    """The id itself, or a hash of one that could not stand in a header."""
    return notice if _PLAIN.fullmatch(notice) else hashlib.sha256(notice.encode("utf-8", "surrogatepass")).hexdigest()[:40]
