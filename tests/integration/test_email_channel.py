"""The mail channel against a real SMTP server: two audiences, threads, TLS and login, refusals, lost answers."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from detector.adapters.email import Email
from detector.adapters.email.session import may_show_credentials
from detector.adapters.settings.model import EmailSettings
from detector.adapters.template import TemplateRenderer
from detector.domain.incident import NoticeKind
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError
from tests.kit.certificate import Certificate, make_certificate
from tests.kit.delivery import OPENED, make_delivery
from tests.kit.mailserver import CLOSE, HANG, MailServer
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, HELD_UP_SECONDS

if TYPE_CHECKING:
    from detector.ports.store import Delivery

NOW = OPENED + 10
PASSWORD = "hunter2-hunter2"
ON_CALL = ("ann@example.org", "bob@example.org")
STAKEHOLDERS = ("ceo@example.com", "shop@example.com", "press@example.com")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """An authority of the test's own."""
    return make_certificate(tmp_path_factory.mktemp("mail"))


def make_channel(server: MailServer, *, deadline_seconds: float = 5.0, **changes: Any) -> Email:
    """The channel to that server; `changes` override settings, `tls`, `implicit_tls` and templates its options."""
    options = {name: changes.pop(name) for name in ("tls", "implicit_tls", "on_call_texts", "stakeholder_texts") if name in changes}
    setting = EmailSettings(
        **{
            "host": "127.0.0.1",
            "port": server.port or 1,
            "sender": "detector@ops.example.org",
            "on_call": ON_CALL,
            "stakeholders": STAKEHOLDERS,
            **changes,
        }
    )
    return Email(
        setting,
        TemplateRenderer(),
        on_call=options.pop("on_call_texts", None),
        stakeholders=options.pop("stakeholder_texts", None),
        deadline_seconds=deadline_seconds,
        **options,
    )


def make_mail(kind: NoticeKind = NoticeKind.TRIGGER, *, route: str = "on_call", **about: Any) -> Delivery:
    """A delivery of this channel; the key is the incident's id."""
    return replace(make_delivery(kind, key="abc", route=route, **about), channel="email")


async def test_an_incident_is_one_thread_for_the_people_on_call() -> None:
    """Opened, updated and resolved: three mails of one thread, each with its own fixed id, to all in one transaction."""
    async with MailServer() as server:
        channel = make_channel(server)
        first = await channel.send(make_mail(), now=NOW)
        for sequence, kind in enumerate((NoticeKind.UPDATE, NoticeKind.RESOLVE), start=2):
            about: dict[str, Any] = {
                "sequence": sequence,
                "credential": first.credential,
                "value_at_recovery": 0.0005,
                "resolved": OPENED + 600,
            }
            receipt = await channel.send(make_mail(kind, **about), now=NOW)
            assert receipt.credential == first.credential
        await channel.close()
    opened, updated, resolved = (mail.message for mail in server.mails)
    assert [mail.recipients for mail in server.mails] == [ON_CALL] * 3
    assert server.connections == 3
    assert opened["Message-ID"] == f"<{make_mail().id}@ops.example.org>" == first.credential
    assert opened["In-Reply-To"] is None
    assert [mail["In-Reply-To"] for mail in (updated, resolved)] == [first.credential] * 2
    assert updated["References"].split() == [*opened["References"].split(), first.credential]
    assert opened["Auto-Submitted"] == "auto-generated"
    assert opened["Date"].datetime.timestamp() == OPENED
    assert opened["To"] == "ann@example.org, bob@example.org"
    assert opened["Subject"] == "[HIGH] checkout fails 10.2% of its requests"
    assert opened.get_content_type() == "text/plain"
    body = opened.get_content()
    for fact in ("Value: error_rate 10.2% > 1%, peak 12%", "Runbook: https://wiki.example/checkout", "env=prod", "core service"):
        assert fact in body
    assert "At recovery: 0.05%" in resolved.get_content()
    assert "Value: error_rate 10.2%, threshold 1%, peak 12%" in resolved.get_content()
    assert "Resolved: 2023-11-14 22:23:20 UTC" in resolved.get_content()


@pytest.mark.parametrize(
    ("instead_of", "subject"),
    [
        ("pagerduty", "[HIGH] pagerduty fails: checkout fails 10.2% of its requests"),
        ("drill", "[HIGH] checkout fails 10.2% of its requests"),
    ],
)
async def test_a_mail_that_stands_for_another_channel_says_so_in_its_subject(instead_of: str, subject: str) -> None:
    """Beside the mail of the opening itself nobody takes it for a second copy; what marks a drill is no channel."""
    async with MailServer() as server:
        channel = make_channel(server)
        await channel.send(make_mail(fallback_for=instead_of), now=NOW)
        await channel.close()
    assert server.mails[0].message["Subject"] == subject


async def test_without_a_credential_later_mails_still_belong_to_the_thread() -> None:
    """After the first mail was lost, the next refers to the id that is made from the key."""
    async with MailServer() as server:
        channel = make_channel(server)
        for sequence in (2, 3):
            await channel.send(make_mail(NoticeKind.UPDATE, sequence=sequence), now=NOW)
        await channel.close()
    parents = {mail.message["In-Reply-To"] for mail in server.mails}
    assert len(parents) == 1
    assert re.fullmatch(r"<incident-[0-9a-f]{32}@ops\.example\.org>", parents.pop())


@pytest.mark.parametrize("kind", list(NoticeKind))
async def test_stakeholders_read_nothing_of_the_inside(kind: NoticeKind) -> None:
    """No label, host name, link, value, rule or person of any notice reaches stakeholders; what they need does."""
    facts = {
        "title": "checkout on db-7.prod.internal fails",
        "labels": {"instance": "10.1.2.3:9100", "pod": "checkout-5f7"},
        "message": "db-7.prod.internal:5432 lost its disk, see https://wiki.internal/x",
        "actor": "jane.doe",
        "acknowledged_by": "jane.doe",
        "owner": "payments",
        "responders": {"on_call_engineer": "jane.doe"},
        "next_update": OPENED + 1800,
        "services": ["checkout", "basket", "db-7.prod.internal:5432"],
    }
    async with MailServer() as server:
        channel = make_channel(server)
        receipt = await channel.send(make_mail(kind, route="stakeholders", **facts), now=NOW)
        await channel.close()
    if kind in {NoticeKind.SUMMON, NoticeKind.ESCALATE}:
        assert (server.mails, receipt.note) == ([], f"a {kind.value} is nothing to tell stakeholders")
        return
    (mail,) = server.mails
    assert mail.recipients == STAKEHOLDERS
    assert mail.message["To"] == "undisclosed-recipients:;"
    whole = f"{mail.message['Subject']}\n{mail.text}"
    for inside in ("internal", "10.1.2.3", "5f7", "https:", "jane", "payments", "error_rate", "10.2", "http-errors", "ceo@", "{{"):
        assert inside not in whole
    assert "checkout, basket" in whole
    over = kind in {NoticeKind.RESOLVE, NoticeKind.CLOSE}
    assert ("resolved" if over else "Next update by 22:43 UTC") in whole


async def test_what_a_person_wrote_as_an_update_is_told_without_addresses() -> None:
    """An update by a human reaches stakeholders with ETA, its host names and links taken out."""
    facts = {
        "message": "The payment provider fails.\r\nBcc: x@y.z We switch over (see https://wiki/x).",
        "actor": "jane",
        "eta": "10 min",
        "state": "identified",
    }
    async with MailServer() as server:
        channel = make_channel(server)
        await channel.send(make_mail(NoticeKind.UPDATE, route="stakeholders", **facts), now=NOW)
        await channel.close()
    (mail,) = server.mails
    assert mail.message["Subject"] == "checkout, basket: update, identified"
    assert "The payment provider fails. Bcc: (removed) We switch over (see (removed)" in mail.text
    assert "ETA: 10 min" in mail.text
    assert mail.message["Bcc"] is None


async def test_a_resolve_that_is_still_watched_is_not_called_resolved() -> None:
    """State monitoring says recovered; resolved names the time and the root cause."""
    async with MailServer() as server:
        channel = make_channel(server)
        facts: dict[str, Any] = {"route": "stakeholders", "resolved": OPENED + 600, "root_cause": "a full disk on db-1.internal"}
        await channel.send(make_mail(NoticeKind.RESOLVE, state="monitoring", **facts), now=NOW)
        await channel.send(make_mail(NoticeKind.RESOLVE, state="resolved", **facts), now=NOW)
        await channel.close()
    watched, resolved = server.mails
    assert watched.message["Subject"] == "checkout, basket: recovered, monitoring"
    assert "Incident resolved at 2023-11-14 22:23 UTC, root cause: a full disk on (removed)." in resolved.text


HOSTILE = "x\r\nBcc: evil@example.org\x00\n.\r\nQUIT\r\n\u2028{{7*7}} <!channel> \ud800 " + "🔥é" * 400


async def test_hostile_values_smuggle_nothing_into_header_or_session() -> None:
    """CR, LF, NUL, lone dots and half surrogates in every value: one mail, the same headers, a subject of bounded length."""
    facts = dict.fromkeys(("title", "service", "signal", "owner", "message", "runbook", "condition", "root_cause", "eta"), HOSTILE)
    lists = {"services": [HOSTILE] * 3, "rules": [HOSTILE], "notes": [HOSTILE], "labels": {HOSTILE: HOSTILE}, "actor": "x\r\ny"}
    async with MailServer() as server:
        channel = make_channel(server)
        for route in ("on_call", "stakeholders"):
            about: dict[str, Any] = {
                "incident": HOSTILE,
                "route": route,
                "credential": "<a@b>\r\nBcc: evil@example.org",
                **facts,
                **lists,
            }
            await channel.send(make_mail(NoticeKind.UPDATE, **about), now=NOW)
        await channel.close()
    assert len(server.mails) == 2
    assert [command for command in server.commands if "evil" in command] == []
    for mail in server.mails:
        message = mail.message
        names = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"]
        assert message.keys() == [*names, "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
        assert len(message["Subject"]) <= 160
        assert message.defects == []
        assert max(map(len, mail.raw.splitlines())) <= 998
        assert mail.raw.isascii()
        assert "{{7*7}}" in mail.text
        assert "🔥" in mail.text


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ({"MAIL": "421 4.3.2 going down"}, TemporaryError, "421"),
        ({"RCPT": "450 4.2.1 busy"}, TemporaryError, "450"),
        ({"MAIL": "451 4.3.0 try later"}, TemporaryError, "451"),
        ({"DATA": "452 4.3.1 disk full"}, TemporaryError, "452"),
        ({"RCPT": "550 5.1.1 no such user"}, PermanentError, "550"),
        ({"MAIL": "553 5.1.8 sender"}, PermanentError, "553"),
        ({"DATA": "554 5.7.1 spam"}, PermanentError, "554"),
        ({"MAIL": "530 5.7.0 authentication required"}, SettingsError, "530"),
        ({"MAIL": "535 5.7.8 bad login"}, SettingsError, "535"),
        ({"RCPT": "534 5.7.9 stronger login"}, SettingsError, "534"),
        ({"RCPT:ann@example.org": "550 gone", "RCPT:bob@example.org": "450 busy"}, TemporaryError, "450"),
        ({"DATA": CLOSE}, TemporaryError, "ended before the mail was accepted"),
        ({"MAIL": CLOSE}, TemporaryError, "ended before the mail was accepted"),
        ({"RCPT": "421 4.3.2 going down"}, TemporaryError, "421"),
    ],
)
async def test_every_refusal_has_its_consequence(script: dict[str, str], kind: type[OutsideError], words: str) -> None:
    """Codes worth another try, final ones and those about the login are told apart; the code is in the message."""
    async with MailServer(script=script) as server:
        channel = make_channel(server)
        with pytest.raises(OutsideError) as caught:
            await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert server.mails == []


async def test_a_greeting_of_421_is_worth_another_try() -> None:
    """A server that is full says so before anything else."""
    async with MailServer(greeting="421 4.3.2 too many connections") as server:
        channel = make_channel(server)
        with pytest.raises(TemporaryError, match="421") as caught:
            await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert not caught.value.attempted


async def test_some_refused_recipients_are_counted_and_the_others_get_their_mail() -> None:
    """One of two refused: accepted, with the number in the note and no address in it."""
    async with MailServer(script={"RCPT:ann@example.org": "550 5.1.1 no such user"}) as server:
        channel = make_channel(server)
        receipt = await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert receipt.note == "1 of 2 recipients were refused"
    assert [mail.recipients for mail in server.mails] == [("bob@example.org",)]


async def test_an_address_that_cannot_be_written_costs_the_others_nothing() -> None:
    """A list with a name in it and one in another script: the writable addresses get the mail."""
    async with MailServer() as server:
        channel = make_channel(server, on_call=("nobody", "Ann <ann@example.org>", "bob@bücher.example", "jörg@example.org"))
        receipt = await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert receipt.note == "2 of 4 recipients were refused"
    assert server.mails[0].recipients == ("ann@example.org", "bob@xn--bcher-kva.example")


@pytest.mark.parametrize("step", ["greeting", "MAIL", "DATA"])
async def test_a_server_that_hangs_is_left_at_the_deadline(step: str) -> None:
    """The deadline is one over the whole exchange, wherever it hangs, and the attempt is known not to have been the mail."""
    hangs: dict[str, Any] = {"greeting": HANG} if step == "greeting" else {"script": {step: HANG}}
    async with MailServer(**hangs) as server:
        channel = make_channel(server, deadline_seconds=BRIEF_SECONDS)
        began = time.monotonic()
        with pytest.raises(TemporaryError, match=r"within 1\.5 s") as caught:
            await channel.send(make_mail(), now=NOW)
        assert time.monotonic() - began < BRIEF_SECONDS + HELD_UP_SECONDS
        await channel.close()
    assert caught.value.attempted is (step == "DATA")


async def test_a_lost_answer_is_repeated_under_the_same_id() -> None:
    """Taken by the server, answered never: unknown; the repetition is byte for byte the same mail."""
    async with MailServer(script={"DATA+": HANG}) as server:
        channel = make_channel(server, deadline_seconds=BRIEF_SECONDS)
        with pytest.raises(TemporaryError, match="may have been accepted") as caught:
            await channel.send(make_mail(), now=NOW)
        assert caught.value.attempted
        server.script.clear()
        await channel.send(make_mail(), now=NOW + 60)
        await channel.close()
    first, second = server.mails
    assert first.raw == second.raw


async def test_an_accepted_mail_is_a_success_whatever_happens_at_the_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs at QUIT, past the deadline, changes nothing: the mail was taken."""

    async def hang(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(MailServer, "handle_QUIT", hang, raising=False)
    async with MailServer() as server:
        channel = make_channel(server, deadline_seconds=BRIEF_SECONDS)
        assert (await channel.send(make_mail(), now=NOW)).credential
        await channel.close()
    assert len(server.mails) == 1


async def test_nothing_listens() -> None:
    """A refused connection and a name that does not exist are worth another try, and were no attempt."""
    for host in ("127.0.0.1", "no-such-host.invalid"):
        channel = make_channel(MailServer(port=free_port()), host=host)
        with pytest.raises(TemporaryError, match=re.escape(host)) as caught:
            await channel.send(make_mail(), now=NOW)
        assert type(caught.value) is TemporaryError
        assert not caught.value.attempted
        await channel.close()


@pytest.mark.parametrize("implicit", [False, True])
async def test_tls_is_used_and_the_login_goes_inside(certificate: Certificate, *, implicit: bool) -> None:
    """STARTTLS where it is offered, or TLS from the first byte: the mail and the login are encrypted."""
    trusted = ssl.create_default_context(cafile=certificate.ca_file)
    async with MailServer(tls=certificate.make_server_context(), implicit_tls=implicit, users={"ops": PASSWORD}) as server:
        channel = make_channel(
            server, host="localhost", tls=trusted, implicit_tls=implicit, username="ops", password=SecretStr(PASSWORD)
        )
        await channel.send(make_mail(), now=NOW)
        await channel.close()
    (mail,) = server.mails
    assert (mail.encrypted, mail.login) == (True, "ops")


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_that_does_not_hold_ends_it(certificate: Certificate, *, implicit: bool) -> None:
    """An authority nobody trusts: no mail, no login, and the line names the setting."""
    async with MailServer(tls=certificate.make_server_context(), implicit_tls=implicit, users={"ops": PASSWORD}) as server:
        channel = make_channel(server, host="localhost", implicit_tls=implicit, username="ops", password=SecretStr(PASSWORD))
        with pytest.raises(SettingsError, match="certificate does not hold") as caught:
            await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert (server.mails, server.commands, caught.value.attempted) == ([], [], False)


async def test_a_wrong_password_is_a_settings_fault_that_tells_no_secret() -> None:
    """535 with the password in its text: the error names the settings and repeats nothing."""
    async with MailServer(users={"ops": "other"}) as server:
        channel = make_channel(server, username="ops", password=SecretStr(PASSWORD))
        with pytest.raises(SettingsError, match="DETECTOR_EMAIL__USERNAME") as caught:
            await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert "LOGIN ops" in server.commands
    assert_no_secret([PASSWORD], str(caught.value), repr(caught.value), repr(channel), repr(channel._server))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("peer", "encrypted", "may"),
    [
        (("127.0.0.1", 25), False, True),
        (("127.8.0.1", 25), False, True),
        (("::1", 25, 0, 0), False, True),
        (("10.0.0.1", 25), False, False),
        (("192.0.2.1", 25), True, True),
        (("fe80::1%eth0", 25, 0, 2), False, False),
        (None, False, False),
        (("mail.example.org", 25), False, False),
    ],
)
def test_credentials_in_clear_text_stay_on_this_machine(peer: object, *, encrypted: bool, may: bool) -> None:
    """Without TLS only a loopback peer may see the password."""
    assert may_show_credentials(peer, is_encrypted=encrypted) is may


async def test_a_far_server_without_tls_never_sees_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal comes before AUTH and says what to set."""
    monkeypatch.setattr("detector.adapters.email.session.may_show_credentials", lambda _peer, *, is_encrypted: is_encrypted)
    async with MailServer(users={"ops": PASSWORD}) as server:
        channel = make_channel(server, username="ops", password=SecretStr(PASSWORD))
        with pytest.raises(SettingsError, match="never sent in clear text: set DETECTOR_EMAIL__PORT") as caught:
            await channel.send(make_mail(), now=NOW)
        await channel.close()
    assert server.commands == []
    assert not caught.value.attempted


async def test_a_server_without_login_is_a_settings_fault() -> None:
    """A user name that the server has no use for is said, not ignored."""
    async with MailServer() as server:
        channel = make_channel(server, username="ops", password=SecretStr(PASSWORD))
        with pytest.raises(SettingsError, match="offers no login"):
            await channel.send(make_mail(), now=NOW)
        await channel.close()


@pytest.mark.parametrize(("route", "setting"), [("on_call", "ON_CALL"), ("stakeholders", "STAKEHOLDERS"), ("x", "ON_CALL")])
async def test_an_empty_list_names_the_setting(route: str, setting: str) -> None:
    """Nobody to send to: one clear line, nothing sent."""
    channel = make_channel(MailServer(port=1), on_call=(), stakeholders=())
    with pytest.raises(SettingsError, match=f"set DETECTOR_EMAIL__{setting}"):
        await channel.send(make_mail(route=route), now=NOW)


async def test_own_templates_override_and_failing_ones_do_not_reach_readers() -> None:
    """A template of the settings is used; one that fails gives way to the shipped one."""
    async with MailServer() as server:
        channel = make_channel(
            server, on_call_texts={"trigger": "{{ service }} broke\nnow"}, stakeholder_texts={"trigger": "Oh {{ nothing.at.all }}"}
        )
        for route in ("on_call", "stakeholders"):
            await channel.send(make_mail(route=route), now=NOW)
        await channel.close()
    own, shipped = server.mails
    assert (own.message["Subject"], own.text.strip()) == ("checkout broke", "now")
    assert shipped.message["Subject"] == "checkout, basket disrupted, investigating"


async def test_a_sender_that_cannot_stand_in_a_header_is_a_settings_fault() -> None:
    """A line break in the sender is refused before anything is sent."""
    channel = make_channel(MailServer(port=1), sender="a@b.example\r\nBcc: evil@example.org")
    with pytest.raises(SettingsError, match="DETECTOR_EMAIL__SENDER"):
        await channel.send(make_mail(), now=NOW)


async def test_a_storm_of_mails_opens_few_connections_at_a_time() -> None:
    """Forty notices at once are forty mails over at most four connections, and those that are just closing."""
    async with MailServer() as server:
        channel = make_channel(server)
        await asyncio.gather(*(channel.send(make_mail(incident=f"i{number}"), now=NOW) for number in range(40)))
        await channel.close()
    assert len({mail.message["Message-ID"] for mail in server.mails}) == len(server.mails) == 40
    assert server.most_at_once <= 8
