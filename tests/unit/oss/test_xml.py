from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import NotOSS
from ossmp_jupyter.oss.xml import (
    MAX_XML_BYTES,
    parse_error,
    parse_xml,
    read_complete,
    read_copy_part,
    read_initiate,
    read_objects_page,
    read_parts_page,
    read_uploads_page,
    write_bucket_configuration,
    write_complete_request,
)


def test_initiate_with_namespace_and_encoding() -> None:
    data = b"""<?xml version="1.0" encoding="UTF-8"?>
    <InitiateMultipartUploadResult xmlns="http://doc.oss-cn-hangzhou.aliyuncs.com">
      <EncodingType>url</EncodingType><Bucket>b</Bucket><Key>demo%2Fgp-%0C%0A%2B+</Key>
      <UploadId> U </UploadId>
    </InitiateMultipartUploadResult>"""
    assert read_initiate(data) == ("b", "demo/gp-\x0c\n++", "U")


def test_initiate_without_encoding_is_literal() -> None:
    inner = "<Key>a%2F中</Key><UploadId>U</UploadId>"
    data = f"<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>"
    assert read_initiate(data.encode()) == ("", "a%2F中", "U")


def test_initiate_without_an_id() -> None:
    with pytest.raises(NotOSS, match="no upload ID"):
        read_initiate(b"<InitiateMultipartUploadResult/>")


def test_complete() -> None:
    data = b"""<CompleteMultipartUploadResult><Location>http://b.x/k</Location><Bucket>b</Bucket><Key>k</Key>
    <ETag>"ABC-2"</ETag></CompleteMultipartUploadResult>"""
    assert read_complete(data) == ("b", "k", "ABC-2", "http://b.x/k")


def test_copy_part() -> None:
    inner = b'<LastModified>2012-02-23T04:18:23.000Z</LastModified><ETag>"A"</ETag>'
    data = b"<CopyPartResult>" + inner + b"</CopyPartResult>"
    assert read_copy_part(data) == ("A", datetime(2012, 2, 23, 4, 18, 23, tzinfo=UTC))


def test_parts() -> None:
    page = read_parts_page(
        b"""<ListPartsResult><EncodingType>url</EncodingType><Bucket>b</Bucket><Key>a%2Fb</Key><UploadId>U</UploadId>
    <PartNumberMarker>2</PartNumberMarker><NextPartNumberMarker>7</NextPartNumberMarker><MaxParts>2</MaxParts>
    <IsTruncated>true</IsTruncated>
    <Part><PartNumber>3</PartNumber><LastModified>bad</LastModified><ETag>"AA"</ETag><Size>5</Size></Part>
    <Part><PartNumber>7</PartNumber><ETag>BB</ETag><HashCrc64ecma>0</HashCrc64ecma><Size>0</Size></Part>
    </ListPartsResult>"""
    )
    assert (page.key, page.is_truncated, page.part_number_marker, page.next_part_number_marker) == (
        "a/b",
        True,
        2,
        7,
    )
    first, second = page.parts
    assert (first.part_number, first.etag, first.size, first.crc64, first.last_modified) == (
        3,
        "AA",
        5,
        None,
        None,
    )
    assert (second.crc64, second.size, page.storage_class) == (0, 0, "Standard"), "a CRC of 0 is a CRC"


def test_empty_pages() -> None:
    assert read_parts_page(b"<ListPartsResult/>").parts == ()
    uploads = read_uploads_page(
        b"<ListMultipartUploadsResult><KeyMarker></KeyMarker></ListMultipartUploadsResult>"
    )
    assert (uploads.uploads, uploads.key_marker, uploads.is_truncated, uploads.max_uploads) == (
        (),
        "",
        False,
        1000,
    )
    assert read_objects_page(b"<ListBucketResult/>").objects == ()


def test_uploads_and_groups() -> None:
    page = read_uploads_page(
        b"""<ListMultipartUploadsResult><EncodingType>url</EncodingType><Bucket>b</Bucket><NextKeyMarker>x%20y</NextKeyMarker>
    <NextUploadIdMarker>U2</NextUploadIdMarker><Delimiter>%2F</Delimiter><Prefix>p%2F</Prefix><IsTruncated>false</IsTruncated>
    <Upload><Key>k%0A</Key><UploadId>U2</UploadId><StorageClass>IA</StorageClass>
    <Initiated>2012-02-23T04:18:23.000Z</Initiated></Upload>
    <CommonPrefixes><Prefix>p%2Fq%2F</Prefix></CommonPrefixes></ListMultipartUploadsResult>"""
    )
    assert (page.next_key_marker, page.next_upload_id_marker, page.delimiter, page.prefix) == (
        "x y",
        "U2",
        "/",
        "p/",
    )
    assert (page.uploads[0].key, page.uploads[0].storage_class, page.common_prefixes) == (
        "k\n",
        "IA",
        ("p/q/",),
    )


def test_objects() -> None:
    page = read_objects_page(
        b"""<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
    <NextContinuationToken>T==</NextContinuationToken><Contents><Key>a%2Bb</Key><ETag>"E"</ETag><Type>Multipart</Type>
    <Size>48000000000000</Size></Contents></ListBucketResult>"""
    )
    [entry] = page.objects
    assert (entry.key, entry.size, entry.etag, entry.type) == ("a+b", 48_000_000_000_000, "E", "Multipart")
    assert (page.next_continuation_token, page.is_truncated, page.bucket) == ("T==", True, "b")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"<html><body>Log in</body></html>", b"<ListPartsResult>", b"\xff\xfe", b"<a/>trailing",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><ListPartsResult/>",
        b'<?xml version="1.0" encoding="cp037"?>' + "<ListPartsResult/>".encode("cp037"),
        b"<ListPartsResult>" + b"<a/>" * 200_000 + b"</ListPartsResult>",
        b"<ListPartsResult>" + b" " * MAX_XML_BYTES + b"</ListPartsResult>",
    ],
)  # fmt: skip
def test_what_is_not_the_document(data: bytes) -> None:
    with pytest.raises(NotOSS):
        read_parts_page(data)
    assert parse_error(data) is None


def test_entities_are_never_expanded() -> None:
    bomb = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Error><Code>&b;</Code></Error>'
    assert parse_error(bomb) is None


def test_errors() -> None:
    assert parse_error(b"<Error xmlns='x'><Code>C</Code><EC/></Error>") == {"Code": "C", "EC": ""}
    assert parse_error(b"<Fault/>") is None


@given(st.lists(st.tuples(st.integers(1, 10000), st.text('0123456789ABCDEF<&"', max_size=34)), max_size=20))
def test_part_lists(parts: list[tuple[int, str]]) -> None:
    node = parse_xml(write_complete_request(parts), "CompleteMultipartUpload")
    read = [(int(part.text("PartNumber")), part.text("ETag")) for part in node.children("Part")]
    assert [number for number, _ in read] == sorted(number for number, _ in parts)
    wanted = sorted((number, etag.strip('"')) for number, etag in parts)
    assert sorted(read) == sorted((number, f'"{etag}"') for number, etag in wanted)


def test_bucket_configuration() -> None:
    node = parse_xml(write_bucket_configuration("IA"), "CreateBucketConfiguration")
    assert node.text("StorageClass") == "IA"
