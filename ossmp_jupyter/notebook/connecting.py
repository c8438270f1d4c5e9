"""%oss_connect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ossmp_jupyter.errors import InputError, OssmpError
from ossmp_jupyter.notebook.engine import connect_aloud, connection_now
from ossmp_jupyter.notebook.waiting import wait_future
from ossmp_jupyter.oss import connection as oss
from ossmp_jupyter.oss.cors import cors_advice
from ossmp_jupyter.transfer import manager
from ossmp_jupyter.units import KIB, format_duration, format_time, parse_size

if TYPE_CHECKING:
    import argparse

    from ossmp_jupyter.notebook.session import Session
    from ossmp_jupyter.oss.credentials import Credentials

__all__ = ["connect"]


def connect(session: Session, args: argparse.Namespace) -> None:
    """Choose the connection and say in one line what it is; never a secret."""
    if args.cors and args.cors.startswith("oss://") and args.bucket is None:
        args.bucket, args.cors = args.cors, "*"  # "--cors oss://bucket": the bucket is no origin
    bucket = _bucket(args.bucket)
    if args.cors and not any((bucket, args.local, args.region, args.endpoint, args.profile)):
        current = manager.default_connection()
        print(cors_advice([args.cors], bucket=current.bucket if current else None))
        return
    given = (bucket, args.region, args.endpoint, args.profile, args.ca_file, args.signature, *_special(args))
    if not args.local and (any(given) or manager.default_connection() is None):
        bucket = bucket or session.settings.bucket or None
        args.region = args.region or (None if args.endpoint else session.settings.region or None)
    if args.local:
        connection = _local(session, args, bucket)
    elif args.root or args.bandwidth:
        raise InputError("--root and --bandwidth belong to the embedded OSS", hint="add --local")
    elif not any((*given, bucket, args.region)):
        connection = connection_now()
    else:
        connection = connect_aloud(
            endpoint=args.endpoint,
            region=args.region,
            bucket=bucket,
            profile=args.profile,
            signature=args.signature or "v4",
            cname=args.cname,
            path_style=True if args.path_style else None,
            internal=args.internal,
            accelerate=args.accelerate,
            dualstack=args.dualstack,
            ca_file=args.ca_file,
        )
    # Asked now, so that missing keys are found here and not in the first upload.
    keys = wait_future(manager.call(lambda client: connection.credentials.get(), connection), session.shell)
    manager.set_default_connection(connection)
    where = f"bucket {connection.bucket}" if connection.bucket else "no default bucket"
    source = "the embedded OSS" if args.local else connection.credentials.source
    print(f"connected to {connection.endpoint.canonical}, {where}, credentials from {source}{_until(keys)}")
    if args.cors:
        print(cors_advice([args.cors], bucket=connection.bucket))


def _special(args: argparse.Namespace) -> tuple[bool, ...]:
    return args.internal, args.accelerate, args.dualstack, args.cname, args.path_style


def _until(keys: Credentials) -> str:
    """Say when the credentials end."""
    if keys.expires_at is not None:
        left = keys.expires_at - datetime.now(UTC)
        span = f"in {format_duration(left.total_seconds())}" if left > timedelta(0) else "in the past"
        return f", which expire at {format_time(keys.expires_at)} ({span})"
    return ", with a security token that does not say when it expires" if keys.security_token else ""


def _bucket(text: str | None) -> str | None:
    if text is None:
        return None
    name, _, key = text.removeprefix("oss://").partition("/")
    if name.endswith(":"):
        raise InputError(
            f"{text!r} is not a bucket's address", hint=f"write oss://{key.strip('/') or 'BUCKET'}"
        )
    if key:
        raise InputError(
            f"{text!r} names an object", hint=f"connect to its bucket: %oss_connect oss://{name}"
        )
    return name


def _local(session: Session, args: argparse.Namespace, bucket: str | None) -> oss.Connection:
    foreign = [name for name in ("endpoint", "region", "profile") if getattr(args, name)]
    if foreign:
        raise InputError(
            f"--{foreign[0]} and --local exclude each other", hint="--local needs no other option"
        )
    from ossmp_jupyter.localoss.launch import attach_local

    if args.bandwidth and parse_size(args.bandwidth, "--bandwidth") < KIB:
        raise InputError(
            f"--bandwidth {args.bandwidth} is less than 1 KiB/s", hint="write a unit, such as 20MB/s"
        )
    handle = attach_local(root=args.root, bandwidth=args.bandwidth)
    if handle not in session.local:  # the same folder gives the same handle
        session.local.append(handle)
    connection = oss.connect(
        endpoint=handle.endpoint,
        region=handle.region,
        bucket=bucket or handle.bucket,
        access_key_id=handle.access_key_id,
        access_key_secret=handle.access_key_secret,
        signature=args.signature or "v4",
        identity=handle.identity,
    )
    if bucket and bucket != handle.bucket:
        _make_bucket(session, replace(connection, bucket=bucket))
    return connection


def _make_bucket(session: Session, connection: oss.Connection) -> None:
    try:
        wait_future(
            manager.call(lambda client: client.put_bucket(connection.bucket or ""), connection), session.shell
        )
    except OssmpError as error:
        if error.code not in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
            raise
