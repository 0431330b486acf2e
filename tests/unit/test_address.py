import pytest

from detector.transport.address import AddressDenied, AddressPolicy

ALWAYS_DENIED = (
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",  # noqa: S104 - an address that must be denied, nothing is bound
    "::",
)
PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")
PUBLIC = ("93.184.216.34", "2606:2800:220:1::1")


def _is_denied(policy: AddressPolicy, address: str) -> bool:
    try:
        policy.check_address(address)
    except AddressDenied:
        return True
    return False


@pytest.mark.parametrize("address", ALWAYS_DENIED)
def test_metadata_and_link_local_are_always_denied(address: str) -> None:
    """No setting opens the addresses where clouds hand out credentials, in whatever form they are written."""
    assert _is_denied(AddressPolicy(), address)
    assert _is_denied(AddressPolicy(allow_loopback=False, allow_private=False), address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_follow_the_setting(address: str) -> None:
    """Private networks are reachable unless they are switched off."""
    assert not _is_denied(AddressPolicy(), address)
    assert _is_denied(AddressPolicy(allow_private=False), address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_follows_its_own_setting(address: str) -> None:
    """Loopback stays reachable beside denied private networks, and can be denied by itself."""
    assert not _is_denied(AddressPolicy(allow_private=False), address)
    assert _is_denied(AddressPolicy(allow_loopback=False), address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    """The strictest policy lets the internet through."""
    assert not _is_denied(AddressPolicy(allow_loopback=False, allow_private=False), address)
