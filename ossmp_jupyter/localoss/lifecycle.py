"""PutBucketLifecycle, GetBucketLifecycle, DeleteBucketLifecycle. Rules are kept and returned.

Of what they say only AbortMultipartUpload is carried out, and only when somebody looks: uploads that are
old enough are gone from the next listing on. OSS itself carries its rules out once a day.
"""

from __future__ import annotations

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.localoss.call import Answer, Call
from ossmp_jupyter.localoss.errors_xml import Refused, invalid_argument
from ossmp_jupyter.oss.lifecycle import LifecycleRule, read_lifecycle
from ossmp_jupyter.oss.xml import parse_xml

__all__ = ["delete_lifecycle", "get_lifecycle", "put_lifecycle", "sweep"]

_NAME = "lifecycle"
_DAY = 86400.0
_MOST_RULES = 1000
_ACTIONS = ("Expiration", "Transition", "AbortMultipartUpload", "NoncurrentVersionExpiration",
            "NoncurrentVersionTransition")  # fmt: skip


def put_lifecycle(call: Call) -> Answer:
    """Keep the rules of a bucket."""
    call.store.check_bucket(call.bucket)
    body = call.body.read_all(call.settings.limits.xml_bytes)
    _check(body)
    if call.apply:
        call.store.set_setting(call.bucket, _NAME, body.decode("utf-8"))
    return Answer(200)


def get_lifecycle(call: Call) -> Answer:
    """Return the rules as they were put."""
    kept = call.store.setting(call.bucket, _NAME)
    if kept is None:
        raise Refused("NoSuchLifecycle", extra={"BucketName": call.bucket})
    return Answer(200, {"Content-Type": "application/xml"}, kept.encode("utf-8"))


def delete_lifecycle(call: Call) -> Answer:
    """Forget the rules."""
    call.store.check_bucket(call.bucket)
    if call.apply:
        call.store.set_setting(call.bucket, _NAME, None)
    return Answer(204)


def sweep(call: Call) -> None:
    """Abort the bucket's uploads that a rule says are too old."""
    kept = call.store.setting(call.bucket, _NAME)
    if kept is None:
        return
    rules = [rule for rule in read_lifecycle(kept.encode("utf-8")) if rule.aborts]
    for upload in call.store.uploads(call.bucket):
        if any(_ripe(rule, upload.key, upload.initiated, call.now) for rule in rules):
            try:
                call.store.drop_upload(upload)
            except Refused:
                continue  # completed or aborted meanwhile


def _ripe(rule: LifecycleRule, key: str, initiated: float, now: float) -> bool:
    if not key.startswith(rule.prefix):
        return False
    if rule.abort_before is not None:
        return initiated < rule.abort_before.timestamp() <= now
    return rule.abort_days is not None and now - initiated >= rule.abort_days * _DAY


def _check(body: bytes) -> None:
    """Refuse what OSS refuses: no rule, too many, a status that is none, an action without its day."""
    try:
        rules = parse_xml(body, "LifecycleConfiguration").children("Rule")
    except NotOSS:
        raise Refused("MalformedXML") from None
    if not 1 <= len(rules) <= _MOST_RULES:
        raise Refused("MalformedXML")
    for rule in rules:
        if rule.text("Status") not in ("Enabled", "Disabled") or not rule.children("Prefix"):
            raise Refused("MalformedXML")
        if not any(rule.children(action) for action in _ACTIONS):
            raise invalid_argument("At least one action needs to be specified in a rule.")
        for action in rule.children("AbortMultipartUpload"):
            days, before = action.optional_number("Days"), action.time("CreatedBeforeDate")
            if (days is None) == (before is None) or days == 0:
                raise Refused("MalformedXML")
