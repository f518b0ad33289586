"""The judgement of a webhook's URL: the same for the configuration, `rooney check`, credentials and what sends. Pure.

And its normal form, by which two spellings of one webhook are known to be the same.

The URL is the secret: a fault never quotes a part of it.
"""

import ipaddress
import posixpath
import re
from urllib.parse import unquote, urlsplit

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # of at most 63 characters, as in DNS
# 127.1, 2130706433 and 0x7f.1 are addresses to a resolver, spelt as nobody else spells them
_HOST = re.compile(rf"(?!(.*\.)?([0-9]+|0x[0-9a-f]*)$){_LABEL}(\.{_LABEL})*")
_ACCOUNT = re.compile(r".*/trading/webhook/[^/]+/[^/]+")


def webhook_fault(url: str) -> str:
    """Fault of `url` as a webhook, or nothing. It must be https; plain http is for stand-ins on this machine."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it contains a space or a character no URL has"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # computed on access: raises for a bad one
    except ValueError:  # its text would quote the URL
        return "it is no URL"
    if parts.scheme not in ("https", "http"):
        return "it does not begin with https://"
    address = _address(host)
    if address is None and ("[" in parts.netloc or not _HOST.fullmatch(host)):
        return "it has no host name"
    if parts.scheme == "http" and host != "localhost" and not (address is not None and address.is_loopback):
        return "it begins with http://, which is allowed for this machine only"
    return ""


def account_fault(url: str) -> str:
    """Fault of `url` as a webhook of a broker account at TradersPost, or nothing."""
    if fault := webhook_fault(url):
        return fault
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "it has a user name, a ? or a # part, which a webhook of TradersPost has not"
    if not _ACCOUNT.fullmatch(parts.path):
        return "its path is not /trading/webhook/UUID/PASSWORD, which names the account"
    return ""


def normal_form(url: str) -> str:
    """Host, port and path of a sound `url`, the same for every spelling that may reach the same account.

    This machine is `localhost` by any of its names, and the path is decoded, in small letters, without empty or dot
    segments: rather one account too few than two workers on one.
    """
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path
    address = _address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    if address is not None:
        host = "localhost" if address.is_loopback or address.is_unspecified else address.compressed
    while (decoded := unquote(path)) != path:
        path = decoded
    path = posixpath.normpath(f"/{path.lower().lstrip('/')}")
    return f"{host}:{parts.port or {'https': 443, 'http': 80}[parts.scheme]}{path}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:  # a name, not an address
        return None
