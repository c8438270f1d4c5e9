"""Which bucket, which key, which operation a request means (protocol sheet, 1.2 and 3.0)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

from ossmp_jupyter.localoss import buckets, complete, lifecycle, listing, multipart, objects, versioning
from ossmp_jupyter.localoss.call import Answer, Call, Operation
from ossmp_jupyter.localoss.errors_xml import Refused

__all__ = ["HANDLERS", "route"]

HANDLERS: Mapping[Operation, Callable[[Call], Answer]] = {
    Operation.INITIATE: multipart.initiate,
    Operation.UPLOAD_PART: multipart.upload_part,
    Operation.UPLOAD_PART_COPY: multipart.upload_part_copy,
    Operation.COMPLETE: complete.complete,
    Operation.ABORT: multipart.abort,
    Operation.LIST_UPLOADS: listing.list_uploads,
    Operation.LIST_PARTS: listing.list_parts,
    Operation.PUT_OBJECT: objects.put_object,
    Operation.GET_OBJECT: objects.get_object,
    Operation.HEAD_OBJECT: objects.head_object,
    Operation.DELETE_OBJECT: objects.delete_object,
    Operation.GET_OBJECT_TAGGING: objects.get_tagging,
    Operation.GET_OBJECT_ACL: objects.get_acl,
    Operation.LIST_OBJECTS: listing.list_objects,
    Operation.LIST_OBJECTS_V2: listing.list_objects,
    Operation.PUT_BUCKET: buckets.put_bucket,
    Operation.DELETE_BUCKET: buckets.delete_bucket,
    Operation.GET_BUCKET_INFO: buckets.bucket_info,
    Operation.GET_BUCKET_LOCATION: buckets.bucket_location,
    Operation.PUT_LIFECYCLE: lifecycle.put_lifecycle,
    Operation.GET_LIFECYCLE: lifecycle.get_lifecycle,
    Operation.DELETE_LIFECYCLE: lifecycle.delete_lifecycle,
    Operation.PUT_VERSIONING: versioning.put_versioning,
    Operation.GET_VERSIONING: versioning.get_versioning,
    Operation.LIST_BUCKETS: buckets.list_buckets,
}

# Sub-resources this server does not have; without the list a GET of ?acl would answer with the object itself.
_FOREIGN = frozenset(
    (
        "acl",
        "append",
        "cname",
        "comp",
        "cors",
        "delete",
        "encryption",
        "inventory",
        "live",
        "logging",
        "policy",
        "position",
        "qosInfo",
        "referer",
        "replication",
        "requestPayment",
        "resourceGroup",
        "restore",
        "stat",
        "symlink",
        "tagging",
        "transferAcceleration",
        "versions",
        "vod",
        "website",
        "worm",
    )
)


# Hosts of the real service that belong to one region; the accelerating ones belong to none.
_REGIONAL = (
    re.compile(r"oss-(?!accelerate)(?P<region>[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com"),
    re.compile(r"(?P<region>[a-z0-9-]+)\.oss(?:-internal)?\.aliyuncs\.com"),
)


def _virtual_bucket(call: Call, path_bucket: str) -> str:
    """Return the bucket that the Host header names, or an empty text for path style."""
    host = call.head.get("host").lower()
    if host.startswith("["):
        return ""
    host = host.partition(":")[0].rstrip(".")
    label, dot, rest = host.partition(".")
    if not dot or host == call.settings.host:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return ""
    if call.store.has_bucket(label):
        return label
    official = rest == "localhost" or rest.endswith((".localhost", ".aliyuncs.com"))
    if not official and call.store.has_bucket(path_bucket):
        return ""  # the server was reached by its machine's own dotted name
    return "" if host.endswith(".aliyuncs.com") and not rest.startswith("oss") and "oss" in label else label


def route(call: Call) -> None:
    """Fill in bucket, key and operation.

    Raises
    ------
    Refused
        When the path is not UTF-8, or the method has no meaning there.
    """
    try:
        path = call.head.path.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("InvalidObjectName") from None
    first, _, rest = path.removeprefix("/").partition("/")
    virtual = _virtual_bucket(call, first)
    if virtual:
        call.bucket, call.key, call.virtual_host = virtual, path.removeprefix("/"), True
    else:
        call.bucket, call.key = first, rest
    call.operation = _operation(call)


def check_names(call: Call) -> None:
    """Refuse a bucket or key that OSS does not allow, and operations that this server does not have."""
    if call.bucket and not call.store.has_bucket(call.bucket):
        buckets.check_bucket_name(call.bucket)
    if call.virtual_host:
        _check_region(call)
    if call.key:
        if len(call.key.encode("utf-8")) > 1023:
            raise Refused("InvalidObjectName", "The Length of Object name must be less than 1024.")
        if call.key.startswith(("/", "\\")):
            raise Refused("InvalidObjectName")
    if call.operation is Operation.UNKNOWN:
        if call.head.method not in ("GET", "PUT", "POST", "DELETE", "HEAD"):
            raise Refused("MethodNotAllowed")
        raise Refused("NotImplemented", "The embedded OSS does not have this operation.")


def _check_region(call: Call) -> None:
    """Refuse a bucket asked for at another region's host, naming the right one (protocol sheet, 1.2)."""
    host = call.head.get("host").lower().partition(":")[0].partition(".")[2]
    home = call.settings.region
    for pattern in _REGIONAL:
        match = pattern.fullmatch(host)
        if match and match["region"] != home and call.store.has_bucket(call.bucket):
            raise Refused(
                "AccessDenied",
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                "Please send all future requests to this endpoint.",
                extra={"Bucket": call.bucket, "Endpoint": f"oss-{home}.aliyuncs.com"},
            )


def _operation(call: Call) -> Operation:
    method, names = call.head.method, {name for name, _ in call.head.query}
    if method == "OPTIONS":
        return Operation.OPTIONS
    if method == "GET" and call.bucket and call.key and names & {"tagging", "acl"}:
        return Operation.GET_OBJECT_TAGGING if "tagging" in names else Operation.GET_OBJECT_ACL
    if names & _FOREIGN:
        return Operation.UNKNOWN
    if not call.bucket:
        return Operation.LIST_BUCKETS if method == "GET" else Operation.UNKNOWN
    return _object_operation(call, method, names) if call.key else _bucket_operation(call, method, names)


_LIFECYCLE = {
    "PUT": Operation.PUT_LIFECYCLE,
    "GET": Operation.GET_LIFECYCLE,
    "DELETE": Operation.DELETE_LIFECYCLE,
}


def _bucket_operation(call: Call, method: str, names: set[str]) -> Operation:
    if "lifecycle" in names:
        return _LIFECYCLE.get(method, Operation.UNKNOWN)
    if "versioning" in names:
        asked = {"PUT": Operation.PUT_VERSIONING, "GET": Operation.GET_VERSIONING}
        return asked.get(method, Operation.UNKNOWN)
    if method == "PUT":
        return Operation.PUT_BUCKET
    if method == "DELETE":
        return Operation.DELETE_BUCKET
    if method == "HEAD":
        return Operation.GET_BUCKET_INFO
    if method != "GET":
        return Operation.UNKNOWN
    if "uploads" in names:
        return Operation.LIST_UPLOADS
    if "bucketInfo" in names:
        return Operation.GET_BUCKET_INFO
    if "location" in names:
        return Operation.GET_BUCKET_LOCATION
    return Operation.LIST_OBJECTS_V2 if call.head.parameter("list-type") == "2" else Operation.LIST_OBJECTS


def _object_operation(call: Call, method: str, names: set[str]) -> Operation:
    if names & {"lifecycle", "versioning"}:
        return Operation.UNKNOWN
    copies = "x-oss-copy-source" in call.head.headers
    if method == "PUT":
        if names & {"partNumber", "uploadId"}:
            return Operation.UPLOAD_PART_COPY if copies else Operation.UPLOAD_PART
        return Operation.UNKNOWN if copies else Operation.PUT_OBJECT
    if method == "POST":
        if "uploads" in names:
            return Operation.INITIATE
        return Operation.COMPLETE if "uploadId" in names else Operation.UNKNOWN
    on_upload = "uploadId" in names
    return {
        "GET": Operation.LIST_PARTS if on_upload else Operation.GET_OBJECT,
        "HEAD": Operation.HEAD_OBJECT,
        "DELETE": Operation.ABORT if on_upload else Operation.DELETE_OBJECT,
    }.get(method, Operation.UNKNOWN)
