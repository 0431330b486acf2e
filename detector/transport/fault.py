"""Why an exchange brought no reply: a closed set, and the translation of what aiohttp raises.

Made by `exchange`; an adapter maps it to its own closed reason. Messages name the host and port, never the path, the query, the
user or a header: a webhook's secret often stands in its path.
"""

from __future__ import annotations

from enum import StrEnum

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from detector.transport.address import AddressDenied


class Fault(StrEnum):
    """Closed: adapters match it exhaustively."""

    INVALID = "invalid"
    DENIED = "denied"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    CUT = "cut"
    PROTOCOL = "protocol"
    REDIRECT = "redirect"


class ExchangeError(Exception):
    """No usable reply. Where `sent` is true the other side may have received the request and acted on it."""

    def __init__(self, fault: Fault, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.sent = sent


def describe_target(url: str) -> str:
    """Return `scheme://host:port` of a URL and nothing else of it."""
    try:
        parsed = URL(url)
    except (ValueError, TypeError):
        return "the given URL"
    return f"{parsed.scheme}://{parsed.host_subcomponent}:{parsed.port}"


def translate_error(error: BaseException, target: str, *, sent: bool) -> ExchangeError:
    """Name the fault behind what aiohttp, the resolver or the socket raised."""
    fault, detail = _classify(error, target, sent=sent)
    return ExchangeError(fault, detail, sent=sent)


def _classify(error: BaseException, target: str, *, sent: bool) -> tuple[Fault, str]:  # noqa: PLR0911 - one return a case
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Fault.DNS, f"{target}: the name cannot be resolved ({_describe_os(error.os_error)})"
        case aiohttp.ClientConnectorCertificateError():
            return Fault.TLS, f"{target}: {_describe_tls(error.certificate_error)}"
        case aiohttp.ClientSSLError():
            return Fault.TLS, f"{target}: {_describe_tls(error.os_error)}"
        case aiohttp.ClientConnectorError():
            if isinstance(error.os_error, AddressDenied):
                return Fault.DENIED, f"{target}: {error.os_error}"
            return Fault.CONNECT, f"{target}: cannot connect ({_describe_os(error.os_error)})"
        case aiohttp.ClientPayloadError():
            return _classify_payload(error, target)
        case aiohttp.ClientResponseError():
            return Fault.PROTOCOL, f"{target}: not a valid HTTP answer, or one with headers beyond the limits"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            # What the library quotes here may hold the whole URL or a header's value.
            return Fault.INVALID, f"{target}: the request cannot be built; check the URL and the header values"
        case _ if sent:
            return Fault.CUT, f"{target}: the connection ended before the answer was complete"
        case _:
            return Fault.CONNECT, f"{target}: cannot connect ({type(error).__name__})"


def _classify_payload(error: aiohttp.ClientPayloadError, target: str) -> tuple[Fault, str]:
    if isinstance(error.__cause__, http_exceptions.ContentEncodingError):
        return Fault.PROTOCOL, f"{target}: the answer's compressed body cannot be read"
    return Fault.CUT, f"{target}: the answer was cut short"


def _describe_os(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


def _describe_tls(error: BaseException) -> str:
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or type(error).__name__
    return f"TLS failed ({reason}); check the CA file and the host name"
