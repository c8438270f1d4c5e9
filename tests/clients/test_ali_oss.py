"""npm ali-oss, the SDK this project takes its methods from, as a client of the embedded OSS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ossmp_jupyter.localoss import LocalOSS

pytestmark = [pytest.mark.node, pytest.mark.timeout(360)]  # the first run installs packages

STYLES: dict[str, dict[str, object]] = {
    # at an IP address ali-oss puts the bucket into the Host header only
    "host-v1": {"authorizationV4": False},
    "host-v4": {"authorizationV4": True},
    # and with sldEnable into the path, but then it wants a name, not an address
    "path-v1": {"authorizationV4": False, "sldEnable": True},
    "path-v4": {"authorizationV4": True, "sldEnable": True},
}


@pytest.mark.parametrize("style", STYLES)
def test_ali_oss(ali_oss: Callable[..., dict[str, Any]], oss: LocalOSS, style: str) -> None:
    oss.journal(clear=True)
    options = dict(STYLES[style])
    if "sldEnable" in options:
        options["endpoint"] = oss.endpoint.replace("127.0.0.1", "localhost")
    seen = ali_oss(style, **options)
    assert seen["put"] == {"status": 200, "etag": '"5D41402ABC4B2A76B9719D911017C592"'}
    assert seen["head"] == {"status": 200, "meta": {"year": "2015", "people": "mary"}, "length": "5"}
    assert seen["get"] == "hello"

    stored = oss.snapshot()["objects"]
    big = stored[f"demo/{style}/big"]
    assert seen["multipart"] == {
        "etag": f'"{big["etag"]}"', "name": f"{style}/big", "bucket": "demo", "status": 200,
    }  # fmt: skip
    assert big["etag"].endswith("-5")
    assert seen["same"] and seen["stepsSame"]
    assert seen["progress"][0] == [0, 0] and seen["progress"][-1] == [1, None]
    assert len(seen["progress"]) == 7
    assert seen["bigHead"]["meta"] == {"from": "node"}
    assert seen["bigHead"]["headers"]["x-oss-storage-class"] == "IA"
    assert seen["bigHead"]["headers"]["cache-control"] == "no-cache"

    assert seen["parts"]["truncated"] == "true" and seen["parts"]["next"] == "1"
    assert [(number, size) for number, _, size, _ in seen["allParts"]] == [("1", "204800"), ("2", "256007")]
    assert all(crc.isdecimal() for *_, crc in seen["allParts"])
    assert seen["uploads"] == [[f"{style}/steps", True]]
    assert seen["complete"] == {"etag": f'"{stored[f"demo/{style}/steps"]["etag"]}"', "status": 200}
    assert seen["twice"] == {"name": "NoSuchUploadError", "code": "NoSuchUpload", "status": 404}
    assert seen["abort"] == 204
    assert seen["abortTwice"]["code"] == "NoSuchUpload"
    assert seen["afterAbort"] == []

    assert seen["presigned"] == [200, "hello"]
    assert seen["presignedElsewhere"][0] == 403

    assert seen["missing"]["status"] == 404 and seen["missing"]["code"] == "NoSuchKey"
    assert seen["missingGet"] == {"name": "NoSuchKeyError", "code": "NoSuchKey", "status": 404}
    assert seen["list"] == [f"{style}/big", f"{style}/put", f"{style}/steps"]
    assert seen["oldList"] == {"names": [f"{style}/big", f"{style}/put"], "truncated": True}
    assert seen["delete"] == 204
    assert seen["wrongSecret"]["code"] == "SignatureDoesNotMatch"

    scheme = "OSS4-HMAC-SHA256 (hidden)" if style.endswith("v4") else "OSS (hidden)"
    by_header = {entry["headers"].get("authorization") for entry in oss.journal()}
    assert by_header - {None} == {scheme}


@pytest.mark.parametrize("v4", [False, True])
def test_ali_oss_with_a_security_token(ali_oss: Callable[..., dict[str, Any]], v4: bool) -> None:
    with LocalOSS(security_token="a+token/with=signs") as oss:
        seen = ali_oss("sts", server=oss, authorizationV4=v4)
        assert seen["same"]
        assert "a+token" not in str(oss.journal())
