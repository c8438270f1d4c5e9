"""Where things are: endpoints in the three addressing styles, ``oss://bucket/key``, names and their rules."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, urlsplit

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.veil import veil, veil_address

__all__ = [
    "AddressStyle",
    "Endpoint",
    "ObjectAddress",
    "check_bucket_name",
    "check_key",
    "normalise_region",
    "quote_key",
]

_BUCKET = re.compile(r"[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_REGION_IN_HOST = (
    re.compile(r"(?:.+\.)?oss-(?P<region>[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com"),
    re.compile(r"(?P<region>[a-z0-9-]+)\.oss(?:-internal)?\.aliyuncs\.com"),
)
_NOT_REGIONS = {"accelerate", "accelerate-overseas"}
_HISTORIC = {"oss.aliyuncs.com", "oss-internal.aliyuncs.com"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class AddressStyle(Enum):
    """How a URL names the bucket."""

    VIRTUAL = "virtual"
    PATH = "path"
    CNAME = "cname"


def quote_key(key: str) -> str:
    """Percent-encode a key for a URL, once.

    HTTP libraries drop ``.`` and ``..`` segments from paths; their dots are encoded so that they stay.
    The signature does not change: it is made over the decoded key.

    Examples
    --------
    >>> quote_key("a b/中+.csv"), quote_key("x/../y"), quote_key("./.hidden")
    ('a%20b/%E4%B8%AD%2B.csv', 'x/%2E%2E/y', '%2E/.hidden')
    """
    segments = quote(key, safe="/").split("/")
    return "/".join(s.replace(".", "%2E") if s in {".", ".."} else s for s in segments)


def normalise_region(region: str) -> str:
    """Write a region in its general form.

    Raises
    ------
    InputError
        If it does not look like a region.

    Examples
    --------
    >>> normalise_region("oss-cn-hangzhou"), normalise_region("cn-hangzhou")
    ('cn-hangzhou', 'cn-hangzhou')
    """
    name = region.strip().lower().removeprefix("oss-")
    if not _REGION.fullmatch(name):
        raise InputError(f"{region!r} is not a region", hint="write it as cn-hangzhou or oss-cn-hangzhou")
    return name


def check_bucket_name(name: str) -> str:
    """Return the name if it is a possible bucket name.

    Raises
    ------
    InputError
        If it is not.

    Examples
    --------
    >>> check_bucket_name("my-data")
    'my-data'
    >>> check_bucket_name("My_Data")
    Traceback (most recent call last):
        ...
    ossmp_jupyter.errors.InputError: 'My_Data' is not a bucket name; \
use 3 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends
    """
    if not _BUCKET.fullmatch(str(name)):
        raise InputError(
            f"{name!r} is not a bucket name",
            hint="use 3 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
        )
    return name


def check_key(key: str) -> str:
    """Return the key if it is a possible object name.

    Raises
    ------
    InputError
        If it is empty, longer than 1023 bytes in UTF-8, or begins with ``/`` or a backslash.

    Examples
    --------
    >>> check_key("data/2024/a.csv")
    'data/2024/a.csv'
    >>> check_key("/data.csv")
    Traceback (most recent call last):
        ...
    ossmp_jupyter.errors.InputError: the object name '/data.csv' begins with a slash; leave out the slash
    """
    if not key:
        raise InputError("the object name is empty", hint="name the object, such as oss://bucket/data.csv")
    if key[0] in "/\\":
        what = "slash" if key[0] == "/" else "backslash"
        raise InputError(f"the object name {key[:80]!r} begins with a {what}", hint=f"leave out the {what}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InputError(
            f"the object name {key[:80]!r} is not valid Unicode", hint="rename the object"
        ) from error
    if size > 1023:
        raise InputError(f"the object name has {size} bytes in UTF-8", hint="OSS allows 1023; shorten it")
    return key


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """A bucket and a key; ``str()`` gives ``oss://bucket/key``.

    Examples
    --------
    >>> address = ObjectAddress.parse("oss://my-data/a b/c.csv")
    >>> address.bucket, address.key, str(address)
    ('my-data', 'a b/c.csv', 'oss://my-data/a b/c.csv')
    """

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> ObjectAddress:
        """Read ``oss://bucket/key``; the key is taken literally and may be missing.

        Raises
        ------
        InputError
            If the text is not such an address, or a name in it is impossible.
        """
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() != "oss":
            raise InputError(f"{text!r} is not an OSS address", hint="write oss://bucket/key")
        bucket, _, key = rest.partition("/")
        check_bucket_name(bucket)
        if key:
            check_key(key)
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"oss://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service and how its URLs are built.

    Parameters
    ----------
    scheme, host, port
        Parts of the URL; ``port`` is None for the scheme's default.
    region : str, optional
        General form, such as ``cn-hangzhou``; None where nothing tells (V4 signatures need it).
    style : AddressStyle
        How URLs name the bucket.

    Examples
    --------
    >>> Endpoint.parse(None, region="oss-cn-hangzhou").url("my-data", "a b.csv")
    'https://my-data.oss-cn-hangzhou.aliyuncs.com/a%20b.csv'
    >>> Endpoint.parse("http://127.0.0.1:8080", region="cn-hangzhou").url("my-data", "x", {"uploads": ""})
    'http://127.0.0.1:8080/my-data/x?uploads'
    """

    scheme: str
    host: str
    port: int | None = None
    region: str | None = None
    style: AddressStyle = AddressStyle.VIRTUAL

    @classmethod
    def parse(
        cls,
        endpoint: str | None,
        *,
        region: str | None = None,
        internal: bool = False,
        accelerate: bool = False,
        dualstack: bool = False,
        cname: bool = False,
        path_style: bool | None = None,
    ) -> Endpoint:
        """Read an endpoint, or make one from a region.

        Parameters
        ----------
        endpoint : str or None
            ``oss-cn-hangzhou.aliyuncs.com``, with or without a scheme (https unless given) and port.
        region : str, optional
            ``cn-hangzhou`` or ``oss-cn-hangzhou``; taken from the host name where possible.
        internal, accelerate, dualstack : bool, optional
            Which of the region's endpoints to use when none is given.
        cname : bool, optional
            The endpoint is a custom domain that stands for the bucket.
        path_style : bool, optional
            Put the bucket into the path; default for IP addresses and ``localhost``, refused by the real OSS.

        Raises
        ------
        InputError
            If neither endpoint nor region is given, or either makes no sense.
        """
        endpoint = veil_address(endpoint)  # first of all: a traceback may show it
        if cname and path_style:
            raise InputError("cname and path_style exclude each other", hint="give one of them")
        wanted = normalise_region(region) if region else None
        if not endpoint or not endpoint.strip():
            if cname:
                raise InputError("cname needs the custom domain", hint="give it as endpoint")
            host = _regional_host(wanted, internal=internal, accelerate=accelerate, dualstack=dualstack)
            return cls("https", host, None, wanted, AddressStyle.PATH if path_style else AddressStyle.VIRTUAL)
        scheme, host, port = _split_endpoint(endpoint)
        known = _region_of(host)
        if not cname:
            _refuse_bucket_in_host(host)
        if wanted and known and wanted != known:
            raise InputError(
                f"the endpoint {host} is in region {known}, not in {wanted}",
                hint="give one of them, or make them agree",
            )
        return cls(scheme, host, port, wanted or known, _style(host, cname, path_style))

    @property
    def canonical(self) -> str:
        """Stable text that names the service: ``scheme://host[:port]``."""
        return f"{self.scheme}://{self.authority()}"

    def authority(self, bucket: str = "") -> str:
        """``host[:port]`` as in the Host header, with the bucket in virtual-host style."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if bucket and self.style is AddressStyle.VIRTUAL:
            host = f"{bucket}.{host}"
        return host if self.port in {None, _DEFAULT_PORTS[self.scheme]} else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine, so that nobody listens on the way."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        return _is_ip(self.host) and ipaddress.ip_address(self.host).is_loopback

    def url(self, bucket: str = "", key: str = "", query: Mapping[str, str] | None = None) -> str:
        """Build the exact URL of a request.

        Parameters
        ----------
        bucket, key : str, optional
            Decoded names; without a key the bucket itself is meant, without a bucket the service.
        query : mapping of str to str, optional
            Decoded parameters; an empty value is written as the bare name.
        """
        path = quote_key(key)
        if bucket and self.style is AddressStyle.PATH:
            path = f"{bucket}/{path}"
        url = f"{self.scheme}://{self.authority(bucket)}/{path}"
        if query:
            pairs = ((quote(name, safe=""), quote(value, safe="")) for name, value in query.items())
            url += "?" + "&".join(f"{name}={value}" if value else name for name, value in pairs)
        return url


def _regional_host(region: str | None, *, internal: bool, accelerate: bool, dualstack: bool) -> str:
    if sum((internal, accelerate, dualstack)) > 1:
        raise InputError("internal, accelerate and dualstack exclude each other", hint="give at most one")
    if region is None:
        raise InputError(
            "neither an endpoint nor a region is known",
            hint="give region='cn-hangzhou' (or your bucket's), or set OSS_REGION or OSS_ENDPOINT",
        )
    if accelerate:
        return "oss-accelerate.aliyuncs.com"
    if dualstack:
        return f"{region}.oss.aliyuncs.com"
    return f"oss-{region}{'-internal' if internal else ''}.aliyuncs.com"


def _split_endpoint(endpoint: str) -> tuple[str, str, int | None]:
    """Take an endpoint apart; messages never repeat it, for it may hold a password."""
    hint = "write it as https://oss-cn-hangzhou.aliyuncs.com"
    text = veil(endpoint.strip() if "://" in endpoint else f"https://{endpoint.strip()}")
    try:
        scheme, host, port, login, more = _pieces(text)
    except ValueError:
        scheme = ""
    if not scheme:  # not within the except: a ValueError quotes what may be a password
        raise InputError("the endpoint is not a URL", hint=hint)
    if scheme not in _DEFAULT_PORTS:
        raise InputError(f"the endpoint's scheme is {scheme!r}", hint="only http and https are served")
    if login:
        raise InputError(
            "the endpoint holds a user name or password", hint="give keys as credentials instead"
        )
    if more:
        raise InputError("the endpoint has a path or query", hint=f"give scheme and host only; {hint}")
    if not _is_ip(host) and (not _HOST.fullmatch(host) or ".." in host):
        raise InputError(f"{host!r} is not a host name", hint=hint)
    return scheme, host.lower(), port


def _pieces(url: str) -> tuple[str, str, int | None, bool, bool]:
    """Scheme, host and port; whether there is a login, and whether there is more than all that."""
    parts = urlsplit(url)
    login = parts.username is not None or parts.password is not None
    more = bool(parts.path.strip("/") or parts.query or parts.fragment)
    return parts.scheme.lower(), parts.hostname or "", parts.port, login, more


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _region_of(host: str) -> str | None:
    if host in _HISTORIC:
        return "cn-hangzhou"
    for pattern in _REGION_IN_HOST:
        match = pattern.fullmatch(host)
        if match and match["region"] not in _NOT_REGIONS:
            return match["region"]
    return None


def _refuse_bucket_in_host(host: str) -> None:
    bucket, dot, rest = host.partition(".")
    if dot and rest.startswith("oss-") and rest.endswith(".aliyuncs.com") and "oss-cloudbox" not in rest:
        raise InputError(
            f"the endpoint {host} names the bucket {bucket}",
            hint=f"give {rest} as the endpoint and {bucket} as the bucket",
        )


def _style(host: str, cname: bool, path_style: bool | None) -> AddressStyle:
    if cname:
        return AddressStyle.CNAME
    if path_style is None:
        path_style = _is_ip(host) or host == "localhost"
    if not path_style and _is_ip(host):
        raise InputError(
            f"a bucket name cannot stand before the IP address {host}",
            hint="leave path_style out, or use a host name",
        )
    return AddressStyle.PATH if path_style else AddressStyle.VIRTUAL
