"""PutBucket, DeleteBucket and the few questions SDKs ask about a bucket."""

from __future__ import annotations

import re

from ossmp_jupyter.localoss.call import Answer, Call, element, xml_answer, xml_date
from ossmp_jupyter.localoss.errors_xml import Refused, xml_text
from ossmp_jupyter.localoss.listing import whole_number

__all__ = [
    "bucket_info",
    "bucket_location",
    "check_bucket_name",
    "delete_bucket",
    "list_buckets",
    "put_bucket",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def check_bucket_name(name: str) -> None:
    """Refuse a bucket name that OSS does not allow."""
    if not _NAME.fullmatch(name):
        raise Refused("InvalidBucketName", extra={"BucketName": name})


def put_bucket(call: Call) -> Answer:
    """Create a bucket; its owner may repeat that."""
    check_bucket_name(call.bucket)
    call.body.read_all(call.settings.limits.xml_bytes)
    if call.apply:
        call.store.create_bucket(call.bucket, call.now)
    return Answer(200, {"Location": f"/{call.bucket}"})


def delete_bucket(call: Call) -> Answer:
    """Remove an empty bucket."""
    call.store.check_bucket(call.bucket)
    if call.apply:
        call.store.delete_bucket(call.bucket)
    return Answer(204)


def bucket_info(call: Call) -> Answer:
    """Describe the bucket."""
    created = call.store.check_bucket(call.bucket)
    region = call.settings.region
    inner = "".join(
        (
            element("Name", call.bucket),
            element("Location", f"oss-{region}"),
            element("Region", region),
            element("CreationDate", xml_date(created)),
            element("ExtranetEndpoint", call.host),
            element("IntranetEndpoint", call.host),
            element("StorageClass", "Standard"),
            element("DataRedundancyType", "LRS"),
            "<Owner><ID>0</ID><DisplayName>0</DisplayName></Owner>",
            "<AccessControlList><Grant>private</Grant></AccessControlList>",
        )
    )
    return xml_answer("BucketInfo", f"<Bucket>{inner}</Bucket>")


def bucket_location(call: Call) -> Answer:
    """Tell the bucket's region."""
    call.store.check_bucket(call.bucket)
    return xml_answer("LocationConstraint", xml_text(f"oss-{call.settings.region}"))


def list_buckets(call: Call) -> Answer:
    """List the buckets of this server; what pages a listing is named only where more follow."""
    region = call.settings.region
    prefix, marker = call.head.parameter("prefix") or "", call.head.parameter("marker") or ""
    most = whole_number(call, "max-keys", 100)
    found = sorted(
        (name, created)
        for name, created in call.store.buckets().items()
        if name.startswith(prefix) and name > marker
    )
    page = found[:most]
    buckets = "".join(
        "<Bucket>"
        + element("Name", name)
        + element("Location", f"oss-{region}")
        + element("Region", region)
        + element("CreationDate", xml_date(created))
        + element("StorageClass", "Standard")
        + "</Bucket>"
        for name, created in page
    )
    owner = "<Owner><ID>0</ID><DisplayName>0</DisplayName></Owner>"
    more = ""
    if len(found) > most:
        more = (
            element("Prefix", prefix)
            + element("Marker", marker)
            + element("MaxKeys", most)
            + element("IsTruncated", "true")
            + element("NextMarker", page[-1][0])
        )
    return xml_answer("ListAllMyBucketsResult", f"{more}{owner}<Buckets>{buckets}</Buckets>")
