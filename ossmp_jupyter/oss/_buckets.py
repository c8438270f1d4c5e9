"""ListBuckets: which buckets an account has.

Source: OSS API, ListBuckets (GetService). A page has IsTruncated and NextMarker only where more follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.oss._calls import check_count, given
from ossmp_jupyter.oss._exchange import Call, Exchange
from ossmp_jupyter.oss.address import AddressStyle
from ossmp_jupyter.oss.xml import parse_xml

__all__ = ["BucketInfo", "BucketsPage", "ServiceCalls", "read_buckets_page"]


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


class ServiceCalls:
    """The call that names no bucket."""

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
