"""PutBucketVersioning and GetBucketVersioning, and the version IDs that objects get then.

Only the newest version of an object is kept: clients of uploads see the ID of what they wrote, and that a
prohibition to overwrite means nothing where every version is kept (protocol sheet, Initiate).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.localoss.call import Answer, Call, element, xml_answer
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.model import StoredObject
from ossmp_jupyter.oss.xml import parse_xml

__all__ = ["get_versioning", "keeps_versions", "put_versioning", "versioned"]

_NAME = "versioning"


def put_versioning(call: Call) -> Answer:
    """Switch versioning on or off; it can never be unset again."""
    call.store.check_bucket(call.bucket)
    try:
        status = parse_xml(
            call.body.read_all(call.settings.limits.xml_bytes), "VersioningConfiguration"
        ).text("Status")
    except NotOSS:
        raise Refused("MalformedXML") from None
    if status not in ("Enabled", "Suspended"):
        raise Refused("MalformedXML")
    if call.apply:
        call.store.set_setting(call.bucket, _NAME, status)
    return Answer(200)


def get_versioning(call: Call) -> Answer:
    """Tell the state; nothing where it was never set."""
    status = call.store.setting(call.bucket, _NAME)
    return xml_answer("VersioningConfiguration", element("Status", status) if status else "")


def keeps_versions(call: Call) -> bool:
    """Whether versioning was ever switched on."""
    return call.store.setting(call.bucket, _NAME) is not None


def versioned(call: Call, made: StoredObject) -> StoredObject:
    """Give an object its version ID, where the bucket has versions."""
    status = call.store.setting(call.bucket, _NAME)
    if status is None:
        return made
    return replace(made, version_id="null" if status == "Suspended" else f"CAEQ{secrets.token_hex(22)}")
