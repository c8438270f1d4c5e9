"""What is stored survives: a restart, a crash, other folders' names."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.localoss import LocalOSS
from ossmp_jupyter.localoss.errors_xml import Refused
from ossmp_jupyter.localoss.store import Store
from ossmp_jupyter.oss.checksum import crc64
from tests.localoss.client import Client

A, B = os.urandom(150_000), os.urandom(1000)


@pytest.mark.parametrize("crash", [False, True])
def test_everything_survives_a_restart(tmp_path: Path, crash: bool) -> None:
    with LocalOSS(root=tmp_path, buckets=("one", "two")) as oss:
        client = Client(oss)
        client.request("PUT", "dir/ü", body=A, headers={"x-oss-meta-a": "1", "Content-Type": "a/b"})
        client.upload("joined", A, B)
        client.request("PUT", "gone", body=A)
        client.request("DELETE", "gone")
        upload_id = client.initiate("open", headers={"x-oss-storage-class": "IA"})
        client.part("open", upload_id, 1, B)
        first = client.part("open", upload_id, 1, A)
        client.part("open", upload_id, 3, B)
        aborted = client.initiate("aborted")
        client.request("DELETE", "aborted", {"uploadId": aborted})
        head = client.request("HEAD", "joined").headers
        before = oss.snapshot()
        client.connection.close()
        if crash:
            oss.kill()
    with LocalOSS(root=tmp_path, buckets=("one",)) as oss:
        client = Client(oss)
        assert oss.snapshot() == before
        assert client.request("GET", "dir/ü").body == A
        assert client.request("GET", "joined").body == A + B
        again = client.request("HEAD", "joined").headers
        for name in ("etag", "x-oss-hash-crc64ecma", "last-modified", "x-oss-object-type"):
            assert again[name] == head[name]
        listed = client.request("GET", "open", {"uploadId": upload_id})
        assert listed.tags("PartNumber") == ["1", "3"]
        assert listed.tags("HashCrc64ecma") == [str(crc64(A)), str(crc64(B))]
        done = client.complete("open", upload_id, [(1, first.headers["etag"]), (3, listed.tags("ETag")[1])])
        assert done.status == 200
        assert client.request("GET", "open").body == A + B
        assert client.request("HEAD", "open").headers["x-oss-storage-class"] == "IA"
        client.connection.close()


def files(root: Path, *folders: str) -> list[str]:
    return sorted(
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
    )


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        client.request("PUT", "k", body=A)
        client.request("PUT", "k", body=B)
        client.upload("k", A, B)
        client.request("DELETE", "k")
        upload_id = client.initiate("k")
        client.part("k", upload_id, 1, A)
        client.part("k", upload_id, 1, B)
        client.request("DELETE", "k", {"uploadId": upload_id})
        refused = client.request("PUT", "k", body=A, headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
        assert refused.code == "InvalidDigest"
        client.connection.close()
        assert files(tmp_path, "data", "objects", "uploads", "tmp") == []


def test_unlisted_parts_are_discarded_at_complete(tmp_path: Path) -> None:
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        upload_id = client.initiate("k")
        etag = client.part("k", upload_id, 2, A).headers["etag"]
        client.part("k", upload_id, 5, B)
        client.complete("k", upload_id, [(2, etag)])
        client.connection.close()
        assert len(files(tmp_path, "data")) == 1


def test_a_replaced_part_gives_its_space_back(tmp_path: Path) -> None:
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        upload_id = client.initiate("k")
        for body in (A, B, A):
            client.part("k", upload_id, 1, body)
        client.connection.close()
        assert len(files(tmp_path, "data")) == 1


def test_keys_cannot_name_paths(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    with LocalOSS(root=root) as oss:
        client = Client(oss)
        for key in (
            "../../../escaped",
            "..%2F..%2Fescaped",
            "a/../../../../escaped",
            "..",
            "x\x00y",
            "tmp/x",
        ):
            client.request("PUT", key, body=b"x")
            client.upload(key, b"y")
        for upload_id in ("../../../escaped", "..", "/etc/passwd"):
            query = {"partNumber": "1", "uploadId": upload_id}
            assert client.request("PUT", "k", query, b"x").code == "NoSuchUpload"
        client.connection.close()
        assert [path.name for path in tmp_path.iterdir()] == ["deep"]
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["root"]
        known = {"buckets", "objects", "uploads", "data", "tmp", ".server.lock"}
        assert {path.name for path in root.iterdir()} <= known


def test_a_crash_between_publishing_and_forgetting_is_mended(tmp_path: Path) -> None:
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        upload_id = client.initiate("k")
        note = tmp_path / "uploads" / f"{upload_id}.json"
        text = note.read_text()
        etag = client.part("k", upload_id, 1, A).headers["etag"]
        client.complete("k", upload_id, [(1, etag)])
        client.connection.close()
        oss.kill()
    note.write_text(text)  # as if the process had died before this was removed
    (tmp_path / "tmp" / "half").write_bytes(b"x")
    (tmp_path / "data" / ("F" * 32)).mkdir()
    with LocalOSS(root=tmp_path) as oss:
        client = Client(oss)
        assert oss.snapshot()["uploads"] == []
        assert client.request("GET", "k").body == A
        assert [path.name for path in (tmp_path / "data").iterdir()] == [upload_id]
        assert files(tmp_path, "tmp") == []
        client.connection.close()


def test_one_server_per_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSSMP_LOCALOSS_LOCK_SECONDS", "0.2")
    with LocalOSS(root=tmp_path), pytest.raises(OssmpError, match="another embedded OSS is using"):
        LocalOSS(root=tmp_path).start()


def test_a_temporary_root_is_removed() -> None:
    with LocalOSS() as oss:
        root = Path(oss.root)
        assert root.is_dir()
    assert not root.exists()
    with LocalOSS() as oss:
        root = Path(oss.root)
        os.kill(oss.pid, signal.SIGKILL)
    assert not root.exists()


def test_a_part_that_comes_after_the_abort(tmp_path: Path) -> None:
    """An UploadPart overtaken by Abort finds no upload, and its bytes go away."""
    store = Store(tmp_path)
    store.create_bucket("demo", 0.0)
    from ossmp_jupyter.localoss.model import OpenUpload

    upload = OpenUpload("demo", "k", store.new_data_id(), 0.0, {})
    store.add_upload(upload)
    temp = store.temp_file()
    temp.write_bytes(b"x")
    part = store.adopt(temp, upload.upload_id, 1, "0" * 32, 1, 1, 0.0)
    store.drop_upload(upload)
    with pytest.raises(Refused):
        store.add_part(upload, part, "ec")
    assert files(tmp_path, "data") == []


def test_discarded_bytes_are_counted_and_read_as_zeros(tmp_path: Path) -> None:
    with LocalOSS(root=tmp_path, discard=True) as oss:
        client = Client(oss)
        done = client.upload("k", A, B)
        assert done.headers["x-oss-hash-crc64ecma"] == str(crc64(B, crc64(A)))
        assert client.request("GET", "k").body == bytes(len(A) + len(B))
        client.connection.close()
        assert all((tmp_path / name).stat().st_size == 0 for name in files(tmp_path, "data"))
    with LocalOSS(discard=True, arguments=("--checksums", "none")) as oss:
        client = Client(oss)
        upload_id = client.initiate("k")
        reply = client.part("k", upload_id, 1, A)
        assert "x-oss-hash-crc64ecma" not in reply.headers
        done = client.complete("k", upload_id, [(1, reply.headers["etag"])])
        assert done.status == 200 and "x-oss-hash-crc64ecma" not in done.headers
        assert client.request("HEAD", "k").headers["content-length"] == str(len(A))
        client.connection.close()
