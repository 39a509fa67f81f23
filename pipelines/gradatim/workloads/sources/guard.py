"""Keeps requests made for users away from the cluster's own network, and makes them one address at a time.

Used by the http, git and s3 sources. A name is resolved once, every address it has is checked, and the connection goes to a checked
address: a name that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from gradatim.workloads.sources.base import not_allowed, unreachable

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked place to connect to: `address`, or where that does not answer one of the `others`."""

    scheme: str
    host: str
    port: int
    address: str
    others: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """`host` or `host:port` as it stands in a Host header and in a Secret's hosts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def literal(self) -> str:
        """The address as a URL writes it."""
        return f"[{self.address}]" if ":" in self.address else self.address


def check_url(source: str, url: str, *, allow_private: bool) -> Endpoint:
    """Resolve the host of a URL and return a checked address.

    Raises WorkloadError SourceNotAllowed for an address of a private, loopback, link-local or reserved network, SourceUnreachable for a
    name that does not resolve.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
        host = (
            (parts.hostname or "").encode("idna").decode()
            if parts.hostname and ":" not in parts.hostname
            else parts.hostname
        )
    except (ValueError, KeyError) as error:
        raise unreachable(source, f"{url} is not a usable address ({error})", transient=False) from error
    if not host:
        raise unreachable(source, f"{url} names no host", transient=False)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise unreachable(source, f"the name {host} does not resolve ({error.strerror or error})") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    for address in addresses:
        if not allow_private and not is_public(ipaddress.ip_address(address.partition("%")[0])):
            text = f"{host} lies on a private address; the profile must set limits.allowPrivateNetworks to allow that"
            raise not_allowed(source, text)
    first, *others = sorted(addresses, key=lambda address: ":" in address)
    return Endpoint(parts.scheme, host, port, first, tuple(others))


def is_public(address: Address) -> bool:
    """Tell whether an address is reachable from the whole internet, looking through IPv6 forms that carry an IPv4 one.

    >>> is_public(ipaddress.ip_address("::ffff:169.254.169.254")), is_public(ipaddress.ip_address("1.1.1.1"))
    (False, True)
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast
