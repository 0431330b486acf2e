"""Which network addresses an outgoing request may reach: the guard against requests forged through a setting or a rule file.

Asked by `exchange` for every address at the moment a socket is made for it, so neither a DNS answer that changes between the
check and the connection nor a literal address can pass it by.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses at which clouds hand out credentials and that lie outside the link-local range: AWS over IPv6, Alibaba Cloud, Azure.
_METADATA = frozenset(ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
# RFC 6052: an IPv4 address inside this prefix is reached through a NAT64 gateway.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressDenied(OSError):  # noqa: N818 - an outcome of the policy, raised where asyncio expects an OSError
    """The policy denies this address. An OSError, so that other addresses of the same host are still tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """Link-local (with the metadata service), multicast and unspecified addresses are always denied."""

    allow_loopback: bool = True
    allow_private: bool = True

    def check_address(self, text: str) -> None:
        """Raise AddressDenied where the numeric address `text` (a zone may follow) must not be reached."""
        if kind := self._find_fault(_unwrap_address(ipaddress.ip_address(text.partition("%")[0]))):
            raise AddressDenied(f"address {text} is {kind}: denied by the address policy")

    def _find_fault(self, address: IpAddress) -> str | None:
        if address.is_link_local or address in _METADATA:
            return "link-local or a metadata service"
        if address.is_multicast:
            return "multicast"
        if address.is_unspecified:
            return "unspecified"
        if address.is_loopback:
            return None if self.allow_loopback else "loopback"
        if not address.is_global and not self.allow_private:
            return "private"
        return None


def _unwrap_address(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 address only wraps (mapped, 6to4, NAT64): that is where the packets go."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address
