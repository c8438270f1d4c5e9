"""Upload a file to the embedded OSS with whatever ossmp_jupyter is installed, and compare the bytes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import ossmp_jupyter
from ossmp_jupyter import OSSClient, upload
from ossmp_jupyter.localoss import LocalOSS


async def fetch(oss: LocalOSS, key: str) -> tuple[bytes, str]:
    async with OSSClient(
        endpoint=oss.endpoint,
        region=oss.region,
        bucket=oss.bucket,
        access_key_id=oss.access_key_id,
        access_key_secret=oss.access_key_secret,
    ) as client:
        head = await client.head(key)
        return await client.get(key), head.meta["origin"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, LocalOSS(buckets=("smoke",)) as oss:
        os.environ.update(oss.environment(), OSSMP_STATE_DIR=folder)
        source = Path(folder, "data.bin")
        source.write_bytes(os.urandom(5 * 1024 * 1024 + 17))
        upload(source, "oss://smoke/dir/data.bin", part_size="1MiB", meta={"origin": "wheel"}).wait(60)
        stored, origin = asyncio.run(fetch(oss, "dir/data.bin"))
        assert stored == source.read_bytes(), "the object differs from the file"
        assert origin == "wheel"
        parts = [line for line in oss.journal() if line["operation"] == "UploadPart"]
        assert len(parts) == 6, f"{len(parts)} part requests instead of 6"
    print(f"uploaded and read back {len(stored):,} bytes with {ossmp_jupyter.__file__}")


if __name__ == "__main__":
    main()
