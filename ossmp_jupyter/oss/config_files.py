"""Credentials and settings from the configuration files of Alibaba's own tools, and the default chain.

Read are ``~/.ossutilconfig`` in both its versions and ``~/.aliyun/config.json``, with plain key
pairs and STS tokens; roles, OIDC and credential URIs are the work of ``alibabacloud-credentials``
(extra ``credentials``). Files are read again once they changed.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ossmp_jupyter.errors import CredentialsError
from ossmp_jupyter.oss.credentials import Credentials, CredentialsNotFound, CredentialsProvider
from ossmp_jupyter.oss.providers import ChainProvider, EnvironmentProvider
from ossmp_jupyter.oss.roles import AlibabaCredentialsProvider
from ossmp_jupyter.oss.veil import Hidden, Secret, Variables, veil_named

__all__ = [
    "AlibabaCredentialsProvider",
    "AliyunConfigProvider",
    "OssutilConfigProvider",
    "OssutilSettings",
    "default_chain",
    "ossutil_settings",
    "profile_names",
]

_T = TypeVar("_T")
_PLAIN_MODES = {"", "ak", "ststoken"}
_NO_PROFILES = {"credentials", "bucket-endpoint", "bucket-cname"}


class _WatchedFile(Generic[_T]):
    """The parsed contents of a file, parsed again once the file changed. Thread-safe."""

    def __init__(self, path: Path, parse: Callable[[str], _T]) -> None:
        self.path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._cached: tuple[tuple[int, ...], _T] | None = None

    def read(self, *, fresh: bool = False) -> _T:
        shown = shorten_home(self.path)
        with self._lock:
            try:
                stat = self.path.stat()
                stamp = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
                if self._cached is not None and self._cached[0] == stamp and not fresh:
                    return self._cached[1]
                content = self.path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                raise CredentialsNotFound(f"{shown} does not exist") from None
            except PermissionError:
                # A container whose HOME belongs to somebody else: not a file of this user's.
                raise CredentialsNotFound(f"{shown} may not be read by this user") from None
            except OSError as error:
                raise CredentialsError(
                    f"{shown} cannot be read ({type(error).__name__})",
                    hint="check the file and its permissions",
                ) from None
            parsed = self._parsed(content)
            del content  # a traceback may show what is there
            if parsed is None:
                raise CredentialsError(f"{shown} is not a valid configuration", hint="write it anew")
            self._cached = (stamp, parsed)
            return parsed

    def _parsed(self, content: bytes) -> _T | None:
        """Parse; None for what is no configuration.

        Parsers quote the offending line, which may be the one with the secret: nothing of their exceptions
        goes on, not even as the context of ours.
        """
        try:
            return self._parse(Secret(content.decode("utf-8-sig")))
        except (configparser.Error, ValueError, TypeError, AttributeError, RecursionError):
            return None


def shorten_home(path: Path) -> str:
    """Write a path for people, with ``~`` for the home directory."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):
        return str(path)


_Sections = dict[str, dict[str, str]]


def _plain(name: str) -> str:
    """One spelling for camelCase, kebab-case, snake_case and lower case."""
    return name.replace("-", "").replace("_", "").lower()


def _parse_ini(text: str) -> _Sections:
    parser = configparser.ConfigParser(
        interpolation=None,
        strict=False,
        default_section="\0",
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=("#", ";"),
    )
    parser.read_string(text)
    return {
        " ".join(section.lower().split()): Hidden(
            veil_named({_plain(name): value.strip().strip("\"'") for name, value in parser.items(section)})
        )
        for section in parser.sections()
    }


@dataclass(frozen=True, slots=True)
class OssutilSettings:
    """What an ossutil configuration says besides the keys; ``style`` is virtual, path or cname."""

    endpoint: str | None = None
    region: str | None = None
    style: str | None = None


class OssutilConfigProvider:
    """Keys from ``~/.ossutilconfig``, version 1 (``[Credentials]``) or 2 (``[default]``, ``[profile NAME]``).

    Parameters
    ----------
    path : path, optional
        The file; ``OSSUTIL_CONFIG_FILE`` or ``~/.ossutilconfig`` by default.
    profile : str, optional
        The profile; ``OSSUTIL_PROFILE`` or the default one by default.
    environ : mapping, optional
        Instead of the process's environment variables.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        env = environ = Variables(environ)
        chosen = path or env.get("OSSUTIL_CONFIG_FILE") or "~/.ossutilconfig"
        self._file = _WatchedFile(Path(chosen).expanduser(), _parse_ini)
        self._profile = profile or env.get("OSSUTIL_PROFILE") or None
        self.source = shorten_home(self._file.path)

    def _section(self, *, fresh: bool = False) -> dict[str, str]:
        sections = self._file.read(fresh=fresh)
        shown = shorten_home(self._file.path)
        if self._profile is None and "credentials" in sections:
            self.source = shown
            return sections["credentials"]
        name = (self._profile or "default").lower()
        names = (f"profile {name}", name) if name == "default" else (f"profile {name}",)
        for candidate in names:
            if candidate in sections:
                self.source = f"{shown} (profile {self._profile or 'default'})"
                return sections[candidate]
        raise CredentialsNotFound(f"{shown} has no profile {self._profile or 'default'}")

    def profiles(self) -> list[str]:
        """The names of the file's profiles."""
        names = [name.removeprefix("profile ") for name in self._file.read()]
        return [name for name in names if " " not in name and name not in _NO_PROFILES]

    async def get(self) -> Credentials:
        """Return the keys of the profile.

        Raises
        ------
        CredentialsNotFound
            If there is no such file or profile, or it names a role rather than keys.
        CredentialsError
            If the file cannot be read or holds half a key pair.
        """
        return self._credentials(self._section())

    async def refresh(self) -> Credentials:
        """Read the file again."""
        return self._credentials(self._section(fresh=True))

    def _credentials(self, section: Mapping[str, str]) -> Credentials:
        mode = _plain(section.get("mode", ""))
        if mode not in _PLAIN_MODES:
            raise CredentialsNotFound(
                f"{self.source} has mode {section['mode']}, which needs the extra 'credentials'"
            )
        token = section.get("ststoken") if mode != "ak" else None
        return _pair(self.source, section.get("accesskeyid"), section.get("accesskeysecret"), token)

    def settings(self, bucket: str | None = None) -> OssutilSettings:
        """Return endpoint, region and style, those of ``bucket`` where the file has its own for it."""
        section = self._section()
        sections = self._file.read()
        region, endpoint = section.get("region") or None, section.get("endpoint") or None
        style = section.get("addressingstyle") or None
        if bucket:
            own = sections.get(f"buckets {bucket}", {})
            region, endpoint = own.get("region") or region, own.get("endpoint") or endpoint
            style = own.get("addressingstyle") or style
            plain = _plain(bucket)  # option names were folded; bucket names know no capitals and no "_"
            if their := sections.get("bucket-endpoint", {}).get(plain):
                endpoint = their
            if their := sections.get("bucket-cname", {}).get(plain):
                endpoint, style = their, "cname"
        return OssutilSettings(endpoint, region, style.lower() if style else None)


class AliyunConfigProvider:
    """Keys from the aliyun command line's ``~/.aliyun/config.json`` (modes ``AK`` and ``StsToken``).

    Parameters
    ----------
    path : path, optional
        The file, by default ``~/.aliyun/config.json``.
    profile : str, optional
        The profile; ``ALIBABA_CLOUD_PROFILE`` or the file's current one by default.
    environ : mapping, optional
        Instead of the process's environment variables.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        env = environ = Variables(environ)
        self._file = _WatchedFile(Path(path or "~/.aliyun/config.json").expanduser(), _parse_aliyun)
        self._profile = profile or env.get("ALIBABA_CLOUD_PROFILE") or None
        self.source = shorten_home(self._file.path)

    def profiles(self) -> list[str]:
        """The names of the file's profiles."""
        return list(self._file.read()[1])

    async def get(self) -> Credentials:
        """Return the keys of the profile; errors as :meth:`OssutilConfigProvider.get`."""
        return self._read(fresh=False)

    async def refresh(self) -> Credentials:
        """Read the file again."""
        return self._read(fresh=True)

    def _read(self, *, fresh: bool) -> Credentials:
        current, profiles = self._file.read(fresh=fresh)
        name = self._profile or current
        self.source = f"{shorten_home(self._file.path)} (profile {name})"
        profile = profiles.get(name)
        if profile is None:
            raise CredentialsNotFound(f"{shorten_home(self._file.path)} has no profile {name}")
        mode = str(profile.get("mode") or "AK")
        if _plain(mode) not in _PLAIN_MODES:
            raise CredentialsNotFound(f"{self.source} has mode {mode}, which needs the extra 'credentials'")
        token = profile.get("sts_token") if _plain(mode) == "ststoken" else None
        return _pair(self.source, profile.get("access_key_id"), profile.get("access_key_secret"), token)


def _parse_aliyun(text: str) -> tuple[str, dict[str, dict[str, Any]]]:
    document = json.loads(text)
    profiles = {str(profile.get("name")): veil_named(profile) for profile in document.get("profiles") or []}
    return str(document.get("current") or "default"), profiles


def _pair(source: str, access_key_id: str | None, secret: str | None, token: str | None) -> Credentials:
    if not access_key_id and not secret:
        raise CredentialsNotFound(f"{source} holds no access key")
    if not access_key_id or not secret:
        missing = "secret" if access_key_id else "ID"
        raise CredentialsError(
            f"{source} holds no access key {missing}", hint="run 'ossutil config' or edit the file"
        )
    return Credentials(access_key_id, secret, token or None)


def default_chain(
    profile: str | None = None, *, environ: Mapping[str, str] | None = None
) -> CredentialsProvider:
    """Where credentials are looked for when none are given.

    Environment variables, ``~/.ossutilconfig``, ``~/.aliyun/config.json``, then
    ``alibabacloud-credentials`` where installed. A named profile means the files alone.

    Examples
    --------
    >>> import asyncio
    >>> chain = default_chain(environ={"OSS_ACCESS_KEY_ID": "ak", "OSS_ACCESS_KEY_SECRET": "sk"})
    >>> asyncio.run(chain.get())
    Credentials('ak')
    """
    environ = Variables(environ)
    files: list[CredentialsProvider] = [
        OssutilConfigProvider(profile=profile, environ=environ),
        AliyunConfigProvider(profile=profile, environ=environ),
    ]
    if profile:
        return ChainProvider([*files, AlibabaCredentialsProvider(environ, profile=profile)])
    return ChainProvider([EnvironmentProvider(environ), *files, AlibabaCredentialsProvider(environ)])


def ossutil_settings(
    profile: str | None = None, *, bucket: str | None = None, environ: Mapping[str, str] | None = None
) -> OssutilSettings | None:
    """Read endpoint and region from the ossutil configuration; None where there is none."""
    environ = Variables(environ)
    try:
        return OssutilConfigProvider(profile=profile, environ=environ).settings(bucket)
    except CredentialsNotFound:
        return None


def profile_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The profiles that the configuration files hold; none from a file that is missing or cannot be read."""
    found: set[str] = set()
    for provider in (OssutilConfigProvider(environ=environ), AliyunConfigProvider(environ=environ)):
        with contextlib.suppress(CredentialsError):
            found.update(provider.profiles())
    return sorted(found)
