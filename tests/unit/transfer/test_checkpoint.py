from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossmp_jupyter.errors import InputError
from ossmp_jupyter.transfer.checkpoint import Checkpoint, CheckpointPart

ETAG = "7265F4D211B56873A381D321F586E4A9"
# what ali-oss 6 hands to its progress function, as JSON
ALI_OSS: dict[str, Any] = {
    "file": "/data/a.bin",
    "name": "folder/a.bin",
    "fileSize": 2_500_000,
    "partSize": 1_048_576,
    "uploadId": "0004B9894A22E5B1888A1E29F823",
    "doneParts": [{"number": 3, "etag": f'"{ETAG}"'}, {"number": 1, "etag": f'"{ETAG.lower()}"'}],
}


def test_a_checkpoint_of_ali_oss() -> None:
    checkpoint = Checkpoint.from_mapping(ALI_OSS, bucket="demo")
    assert checkpoint.parts == (CheckpointPart(3, ETAG, 402_848), CheckpointPart(1, ETAG, 1_048_576))
    assert (checkpoint.file, checkpoint.bucket, checkpoint.key) == ("/data/a.bin", "demo", "folder/a.bin")
    assert (checkpoint.size, checkpoint.part_size, checkpoint.confirmed) == (2_500_000, 1_048_576, 1_451_424)
    back = checkpoint.to_ali_oss()
    assert back["doneParts"] == [{"number": n, "etag": f'"{ETAG}"'} for n in (3, 1)]
    assert {**back, "doneParts": 0} == {**ALI_OSS, "doneParts": 0}


def test_the_browsers_file_object_is_no_path() -> None:
    assert Checkpoint.from_mapping({**ALI_OSS, "file": {}}).file is None


@given(st.data())
def test_ours_goes_through_json_and_back(data: st.DataObject) -> None:
    part_size = data.draw(st.integers(102_400, 2**32))
    count = data.draw(st.integers(1, 50))
    size = (count - 1) * part_size + data.draw(st.integers(1, part_size))
    numbers = data.draw(st.lists(st.integers(1, count), unique=True))
    parts = tuple(
        CheckpointPart(
            n,
            f"{n:032X}",
            min(part_size, size - (n - 1) * part_size),
            data.draw(st.none() | st.integers(0, 2**64 - 1)),
        )
        for n in numbers
    )
    file = data.draw(st.none() | st.text(min_size=1, max_size=20))
    checkpoint = Checkpoint(
        file, "demo", data.draw(st.text(min_size=1, max_size=20)), size, part_size, "ID", parts, "https://e"
    )
    assert Checkpoint.from_mapping(json.loads(json.dumps(checkpoint.to_dict()))) == checkpoint


@pytest.mark.parametrize("field", ["name", "fileSize", "partSize", "uploadId", "doneParts"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(InputError, match=f"cannot be read.*{field}"):
        Checkpoint.from_mapping({name: value for name, value in ALI_OSS.items() if name != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fileSize", "many"), ("fileSize", None), ("fileSize", -1), ("fileSize", float("inf")),
        ("partSize", 0), ("partSize", -5),
        ("doneParts", None), ("doneParts", 5), ("doneParts", [5]), ("doneParts", [{}]),
        ("doneParts", [{"number": 0, "etag": ETAG}]), ("doneParts", [{"number": 4, "etag": ETAG}]),
        ("partSize", []), ("doneParts", [{"number": 1}]), ("uploadId", ""), ("name", ""),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_one_clear_sentence(field: str, value: object) -> None:
    with pytest.raises(InputError, match="this checkpoint cannot be read") as caught:
        Checkpoint.from_mapping({**ALI_OSS, field: value})
    assert "\n" not in str(caught.value)
