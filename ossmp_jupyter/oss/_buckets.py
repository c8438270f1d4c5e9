"""The calls of buckets: which there are, what is in one, its rules.

Source: OSS API. A page of ListBuckets (GetService) has IsTruncated and NextMarker only where more follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss._calls import NONE, Strings, check_count, content_md5, given
from ossmp_jupyter.oss._exchange import Answer, Call, Exchange
from ossmp_jupyter.oss.address import AddressStyle, check_bucket_name
from ossmp_jupyter.oss.lifecycle import LifecycleRule, read_lifecycle
from ossmp_jupyter.oss.messages import BucketPage
from ossmp_jupyter.oss.xml import parse_xml, read_objects_page, write_bucket_configuration

__all__ = ["BucketCalls", "BucketInfo", "BucketsPage", "read_buckets_page"]


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """One bucket of the account; ``region`` in its general form, "" where the answer does not say."""

    name: str
    region: str = ""
    created: datetime | None = None
    storage_class: str = "Standard"


@dataclass(frozen=True, slots=True)
class BucketsPage:
    """One page of ListBuckets; ``next_marker`` is "" on the last."""

    buckets: tuple[BucketInfo, ...]
    is_truncated: bool = False
    next_marker: str = ""


class BucketCalls:
    """The calls that name no object."""

    _exchange: Exchange

    async def list_buckets(self, *, prefix: str = "", marker: str = "", max_keys: int = 1000) -> BucketsPage:
        """List the account's buckets, of all regions, by name: one page of at most 1000.

        Raises
        ------
        InputError
            Where the endpoint is a bucket's own domain, which knows no other bucket.
        """
        endpoint = self._exchange.connection.endpoint
        if endpoint.style is AddressStyle.CNAME:
            raise InputError(
                f"{endpoint.host} is one bucket's own domain", hint="connect to the region to list buckets"
            )
        query = given({"prefix": prefix, "marker": marker, "max-keys": check_count("max_keys", max_keys)})
        answer = await self._exchange.read(Call("ListBuckets", "GET", "", "", query))
        return answer.parse(read_buckets_page)

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        continuation_token: str = "",
        start_after: str = "",
        max_keys: int = 1000,
    ) -> BucketPage:
        """List objects, one page of at most 1000."""
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "prefix": prefix,
            "delimiter": delimiter,
            "continuation-token": continuation_token,
            "start-after": start_after,
            "max-keys": check_count("max_keys", max_keys),
        }
        answer = await self._bucket("ListObjectsV2", "GET", bucket, given(query))
        return answer.parse(read_objects_page)

    async def put_bucket(
        self, bucket: str, *, acl: str | None = None, storage_class: str | None = None
    ) -> None:
        """Create a bucket, private and Standard unless said otherwise."""
        body = write_bucket_configuration(storage_class) if storage_class else b""
        headers = {"x-oss-acl": acl} if acl else {}
        if body:
            headers |= {"Content-Type": "application/xml", **content_md5(body)}
        (await self._bucket("PutBucket", "PUT", bucket, NONE, headers, body)).expect_nothing()

    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket."""
        (await self._bucket("DeleteBucket", "DELETE", bucket, NONE)).expect_nothing()

    async def get_bucket_lifecycle(self, bucket: str) -> tuple[LifecycleRule, ...]:
        """The bucket's lifecycle rules; none is ``NotFound`` with the code NoSuchLifecycle."""
        answer = await self._bucket("GetBucketLifecycle", "GET", bucket, {"lifecycle": ""})
        return answer.parse(read_lifecycle)

    async def _bucket(
        self,
        operation: str,
        method: str,
        bucket: str,
        query: Strings,
        headers: Strings = NONE,
        body: bytes = b"",
    ) -> Answer:
        check_bucket_name(bucket)
        return await self._exchange.read(Call(operation, method, bucket, "", query, headers, body))


def read_buckets_page(data: bytes) -> BucketsPage:
    """Read a ListAllMyBucketsResult.

    Examples
    --------
    >>> read_buckets_page(b"<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name>"
    ...                   b"<Region>cn-x</Region></Bucket></Buckets></ListAllMyBucketsResult>").buckets
    (BucketInfo(name='b', region='cn-x', created=None, storage_class='Standard'),)
    """
    node = parse_xml(data, "ListAllMyBucketsResult")
    buckets = tuple(
        BucketInfo(
            name=bucket.text("Name"),
            region=bucket.text("Region") or bucket.text("Location").removeprefix("oss-"),
            created=bucket.time("CreationDate"),
            storage_class=bucket.text("StorageClass") or "Standard",
        )
        for group in node.children("Buckets")
        for bucket in group.children("Bucket")
    )
    return BucketsPage(buckets, node.flag("IsTruncated"), node.text("NextMarker"))
