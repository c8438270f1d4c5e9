"""The four listings: order, markers, groups, paging."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ossmp_jupyter.localoss import LocalOSS
from tests.localoss.client import Client, Reply

KEYS = [f"name{n}" for n in range(20)]


@pytest.fixture(scope="module")
def full(shared: LocalOSS) -> Client:
    client = Client(shared)
    client.request("PUT", bucket="uploads")
    client.request("PUT", bucket="objects")
    for key in KEYS:
        client.initiate(key, bucket="uploads")
        client.request("PUT", key, body=b"x", bucket="objects")
    return client


def uploads(client: Client, bucket: str = "uploads", **query: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in query.items()}
    reply = client.request("GET", "", {"uploads": "", **names}, bucket=bucket)
    assert reply.status == 200, reply.body
    return reply


def test_uploads_are_in_byte_order(full: Client) -> None:
    reply = uploads(full)
    assert reply.tags("Key") == sorted(KEYS)
    assert (reply.tag("IsTruncated"), reply.tag("MaxUploads"), reply.tag("Bucket")) == (
        "false",
        "1000",
        "uploads",
    )
    assert (reply.tag("KeyMarker"), reply.tag("NextKeyMarker")) == ("", "name9")
    assert reply.tags("StorageClass") == ["Standard"] * 20
    assert all(stamp.endswith(".000Z") for stamp in reply.tags("Initiated"))


def test_a_delimiter_groups_uploads(full: Client) -> None:
    reply = uploads(full, delimiter="4")
    assert len(reply.tags("Key")) == 18
    assert [tag.removeprefix("<Prefix>") for tag in reply.tags("CommonPrefixes")] == [
        "name14</Prefix>", "name4</Prefix>",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 7, 20])
@pytest.mark.parametrize("delimiter", ["", "4", "1"])
def test_pages_of_uploads_join_without_loss(full: Client, size: int, delimiter: str) -> None:
    whole = uploads(full, delimiter=delimiter)
    keys: list[str] = []
    groups: list[str] = []
    marker = {"key_marker": "", "upload_id_marker": ""}
    for _ in range(40):
        page = uploads(full, max_uploads=str(size), delimiter=delimiter, **marker)
        assert len(page.tags("Key")) + len(page.tags("CommonPrefixes")) <= size
        keys += page.tags("Key")
        groups += page.tags("CommonPrefixes")
        if page.tag("IsTruncated") == "false":
            break
        marker = {
            "key_marker": page.tag("NextKeyMarker") or "",
            "upload_id_marker": page.tag("NextUploadIdMarker") or "",
        }
    assert (keys, groups) == (whole.tags("Key"), whole.tags("CommonPrefixes"))


def test_several_uploads_of_one_key(client: Client) -> None:
    client.request("PUT", bucket="one-key")
    ids = sorted(client.initiate("k", bucket="one-key") for _ in range(5))
    assert uploads(client, "one-key").tags("UploadId") == ids
    after = uploads(client, "one-key", key_marker="k", upload_id_marker=ids[1])
    assert after.tags("UploadId") == ids[2:]
    assert uploads(client, "one-key", key_marker="k").tags("UploadId") == []
    # without a key marker the ID marker is ignored
    assert uploads(client, "one-key", upload_id_marker=ids[3]).tags("UploadId") == ids


def test_prefix_and_encoding_of_uploads(client: Client) -> None:
    client.request("PUT", bucket="encoded")
    client.initiate("dir/ü +\x0b", bucket="encoded")
    client.initiate("other", bucket="encoded")
    reply = uploads(client, "encoded", prefix="dir/", delimiter="/", encoding_type="url")
    assert reply.tags("Key") == ["dir%2F%C3%BC%20%2B%0B"]
    assert (reply.tag("EncodingType"), reply.tag("Delimiter")) == ("url", "%2F")
    assert reply.tag("NextKeyMarker") == "dir%2F%C3%BC%20%2B%0B"


@pytest.mark.parametrize("value", ["0", "1001", "x", "-1"])
@pytest.mark.parametrize("name", ["max-uploads", "max-parts", "max-keys"])
def test_sizes_of_pages(client: Client, name: str, value: str) -> None:
    queries: dict[str, tuple[str, dict[str, str]]] = {
        "max-uploads": ("", {"uploads": ""}),
        "max-parts": ("paged", {"uploadId": client.initiate("paged")}),
        "max-keys": ("", {}),
    }
    key, query = queries[name]
    reply = client.request("GET", key, {**query, name: value})
    assert (reply.status, reply.code, reply.tag("ArgumentName")) == (400, "InvalidArgument", name)


def test_pages_of_parts(client: Client) -> None:
    upload_id = client.initiate("parts/ü")
    for number in (3, 1, 10_000, 7, 20):
        client.part("parts/ü", upload_id, number, b"%d" % number)
    query = {"uploadId": upload_id, "max-parts": "2", "encoding-type": "url"}
    first = client.request("GET", "parts/ü", query)
    assert (first.tags("PartNumber"), first.tag("IsTruncated")) == (["1", "3"], "true")
    assert (first.tag("NextPartNumberMarker"), first.tag("Key")) == ("3", "parts%2F%C3%BC")
    second = client.request("GET", "parts/ü", {**query, "part-number-marker": "3"})
    assert (second.tags("PartNumber"), second.tag("PartNumberMarker")) == (["7", "20"], "3")
    third = client.request("GET", "parts/ü", {**query, "part-number-marker": "20"})
    assert (third.tags("PartNumber"), third.tag("IsTruncated")) == (["10000"], "false")
    assert third.tag("NextPartNumberMarker") == "10000"


def objects(client: Client, **query: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in query.items()}
    return client.request("GET", "", names, bucket="objects")


def pages_v2(client: Client, **query: str) -> Iterator[Reply]:
    token = ""
    while True:
        page = objects(client, list_type="2", continuation_token=token, **query)
        yield page
        if page.tag("IsTruncated") == "false":
            return
        token = page.tag("NextContinuationToken") or ""


@pytest.mark.parametrize("size", [1, 3, 7, 20])
@pytest.mark.parametrize("delimiter", ["", "4", "1"])
def test_pages_of_objects_join_without_loss(full: Client, size: int, delimiter: str) -> None:
    whole = objects(full, list_type="2", delimiter=delimiter)
    pages = list(pages_v2(full, max_keys=str(size), delimiter=delimiter))
    assert [key for page in pages for key in page.tags("Key")] == whole.tags("Key")
    assert [g for page in pages for g in page.tags("CommonPrefixes")] == whole.tags("CommonPrefixes")
    assert sum(int(page.tag("KeyCount") or "") for page in pages) == int(whole.tag("KeyCount") or "")
    old: list[str] = []
    marker = ""
    while True:
        page = objects(full, max_keys=str(size), delimiter=delimiter, marker=marker)
        old += page.tags("Key")
        if page.tag("IsTruncated") == "false":
            break
        marker = page.tag("NextMarker") or ""
    assert old == whole.tags("Key")


def test_start_after_owner_and_bad_tokens(full: Client) -> None:
    assert objects(full, list_type="2", start_after="name5").tags("Key") == [
        "name6",
        "name7",
        "name8",
        "name9",
    ]
    assert not objects(full, list_type="2").tags("Owner")
    assert len(objects(full, list_type="2", fetch_owner="true").tags("Owner")) == 20
    assert len(objects(full).tags("Owner")) == 20
    assert objects(full, list_type="2", continuation_token="*").code == "InvalidArgument"
    assert objects(full, list_type="2", encoding_type="base64").code == "InvalidArgument"
