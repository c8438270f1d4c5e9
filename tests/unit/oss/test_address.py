from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss.address import (
    AddressStyle,
    Endpoint,
    ObjectAddress,
    check_bucket_name,
    check_key,
    normalise_region,
)


@pytest.mark.parametrize(
    ("endpoint", "options", "url"),
    [
        (None, {"region": "cn-hangzhou"}, "https://my-data.oss-cn-hangzhou.aliyuncs.com/k"),
        (None, {"region": "oss-cn-hangzhou"}, "https://my-data.oss-cn-hangzhou.aliyuncs.com/k"),
        (
            None,
            {"region": "cn-beijing", "internal": True},
            "https://my-data.oss-cn-beijing-internal.aliyuncs.com/k",
        ),
        (None, {"region": "cn-beijing", "accelerate": True}, "https://my-data.oss-accelerate.aliyuncs.com/k"),
        (None, {"region": "cn-beijing", "dualstack": True}, "https://my-data.cn-beijing.oss.aliyuncs.com/k"),
        ("oss-cn-hangzhou.aliyuncs.com", {}, "https://my-data.oss-cn-hangzhou.aliyuncs.com/k"),
        ("http://oss-us-west-1.aliyuncs.com/", {}, "http://my-data.oss-us-west-1.aliyuncs.com/k"),
        ("HTTPS://OSS-CN-Hangzhou.aliyuncs.com:443", {}, "https://my-data.oss-cn-hangzhou.aliyuncs.com/k"),
        ("https://files.example.com", {"cname": True}, "https://files.example.com/k"),
        ("http://127.0.0.1:8080", {}, "http://127.0.0.1:8080/my-data/k"),
        ("http://[::1]:8080", {}, "http://[::1]:8080/my-data/k"),
        ("http://localhost:80", {}, "http://localhost/my-data/k"),
        ("http://localhost:8080", {"path_style": False}, "http://my-data.localhost:8080/k"),
        ("https://minio.example.com", {"path_style": True}, "https://minio.example.com/my-data/k"),
    ],
)
def test_urls(endpoint: str | None, options: dict[str, object], url: str) -> None:
    assert Endpoint.parse(endpoint, **options).url("my-data", "k") == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou"),
        ("cn-shanghai.oss.aliyuncs.com", "cn-shanghai"),
        ("oss.aliyuncs.com", "cn-hangzhou"),
        ("oss-accelerate.aliyuncs.com", None),
        ("oss-accelerate-overseas.aliyuncs.com", None),
        ("127.0.0.1:9000", None),
    ],
)
def test_region_from_the_host(host: str, region: str | None) -> None:
    assert Endpoint.parse(host).region == region


def test_bucket_and_service_urls() -> None:
    path = Endpoint.parse("http://127.0.0.1:1")
    virtual = Endpoint.parse("oss-cn-hangzhou.aliyuncs.com")
    assert path.url("my-data", "", {"uploads": "", "max-uploads": "2"}) == (
        "http://127.0.0.1:1/my-data/?uploads&max-uploads=2"
    )
    assert virtual.url("my-data") == "https://my-data.oss-cn-hangzhou.aliyuncs.com/"
    assert virtual.url() == "https://oss-cn-hangzhou.aliyuncs.com/"
    assert (virtual.canonical, path.canonical) == (
        "https://oss-cn-hangzhou.aliyuncs.com",
        "http://127.0.0.1:1",
    )
    assert path.style is AddressStyle.PATH


@pytest.mark.parametrize(
    ("endpoint", "options", "words"),
    [
        (None, {}, "neither an endpoint nor a region"),
        ("ftp://oss-cn-hangzhou.aliyuncs.com", {}, "only http and https"),
        ("https://oss-cn-hangzhou.aliyuncs.com/bucket", {}, "has a path"),
        ("https://my-data.oss-cn-hangzhou.aliyuncs.com", {}, "names the bucket my-data"),
        ("https://who:pass-word@oss-cn-hangzhou.aliyuncs.com", {}, "user name or password"),
        ("https://under score.com", {}, "is not a host name"),
        ("https://host:99999", {}, "is not a URL"),
        ("https://[::1", {}, "is not a URL"),
        (
            "oss-cn-hangzhou.aliyuncs.com",
            {"region": "cn-beijing"},
            "in region cn-hangzhou, not in cn-beijing",
        ),
        ("http://127.0.0.1", {"path_style": False}, "IP address"),
        ("http://a.example", {"cname": True, "path_style": True}, "exclude each other"),
        (None, {"cname": True}, "custom domain"),
        (None, {"region": "cn hangzhou"}, "is not a region"),
        (None, {"region": "cn-hangzhou", "internal": True, "accelerate": True}, "exclude each other"),
    ],
)
def test_bad_endpoints(endpoint: str | None, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Endpoint.parse(endpoint, **options)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "pass-word" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["abc", "a-b", "0a9", "a" * 63])
def test_good_bucket_names(name: str) -> None:
    assert check_bucket_name(name) == name


@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "-ab", "ab-", "a_b", "Abc", "a.b", "", "数据库", "abc\n", None]
)
def test_bad_bucket_names(name: object) -> None:
    with pytest.raises(InputError, match="is not a bucket name"):
        check_bucket_name(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["a", "a/", "?x", "a" * 1023, "中" * 341, "\x01", "a//b", "../a"])
def test_good_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "/a", "\\a", "a" * 1024, "中" * 342, "a\ud800"])
def test_bad_keys(key: str) -> None:
    with pytest.raises(InputError) as caught:
        check_key(key)
    assert "object name" in str(caught.value)
    str(caught.value).encode()


def test_object_address() -> None:
    address = ObjectAddress.parse("oss://my-data/a%20b/中?x#y.csv")
    assert (address.bucket, address.key) == ("my-data", "a%20b/中?x#y.csv"), "keys are literal"
    assert ObjectAddress.parse(str(address)) == address
    assert (
        ObjectAddress.parse("oss://my-data")
        == ObjectAddress.parse("oss://my-data/")
        == ObjectAddress("my-data")
    )
    for bad in ("my-data/key", "s3://my-data/key", "oss://", "oss://My/key", "oss://my-data//key"):
        with pytest.raises(InputError):
            ObjectAddress.parse(bad)


def test_regions() -> None:
    assert normalise_region(" OSS-cn-hangzhou ") == "cn-hangzhou"


KEYS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
    lambda k: k[0] not in "/\\"
)
DOTTED = st.lists(
    st.sampled_from([".", "..", "", "a", "...", ".a", "b.", "%2e", "%2E%2E"]), min_size=1, max_size=6
)


@given(KEYS | DOTTED.map("/".join).map(lambda key: "x/" + key), KEYS)
def test_keys_survive_httpx(key: str, value: str) -> None:
    """What goes on the wire is exactly what was built, and decodes to the key once."""
    for endpoint, prefix in (
        (Endpoint.parse("http://127.0.0.1:1"), "/my-data/"),
        (Endpoint.parse("oss.example"), "/"),
    ):
        url = endpoint.url("my-data", key, {"prefix": value, "uploads": ""})
        request = httpx.Request("GET", url)
        raw = request.url.raw_path.decode()
        assert url.endswith(raw)
        path, _, query = raw.partition("?")
        assert unquote(path) == prefix + key
        assert not {".", ".."} & set(path.split("/"))
        name, _, rest = query.partition("=")
        assert (name, unquote(rest.removesuffix("&uploads"))) == ("prefix", value)
