"""One upload of one file by one client, in its own process; prints one JSON line.

``python -m benchmarks.client NAME FILE PART_SIZE PARALLEL BASE_URL [busy]``. Imports and the making of the
client are outside the measured window; everything from Initiate to Complete is inside. With ``busy`` the
upload runs in a second thread while the main thread computes in pure Python, as a notebook's kernel does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY_ID, SECRET, BUCKET, REGION = "benchmark-id", "benchmark-secret", "bkt", "cn-hangzhou"


class Job:
    def __init__(self, arguments: list[str]) -> None:
        self.name, self.file = arguments[0], arguments[1]
        self.part, self.parallel, self.base = int(arguments[2]), int(arguments[3]), arguments[4]
        self.size = os.path.getsize(self.file)
        self.key = f"key-{uuid.uuid4().hex}"
        self.begun: tuple[float, float, int] | None = None
        self.result: dict[str, float] = {}

    def begin(self) -> None:
        """Start the clock, and forget the memory's peak so far."""
        forget_peak()
        self.begun = (time.perf_counter(), cpu_seconds(), memory("VmRSS"))

    def end(self) -> None:
        assert self.begun is not None
        began, cpu, rss = self.begun
        wall = time.perf_counter() - began
        cpu = cpu_seconds() - cpu
        self.result = {"wall": wall, "cpu": cpu, "rss_before": rss, "rss_peak": memory("VmHWM")}

    def ranges(self) -> list[tuple[int, int, int]]:
        starts = range(0, self.size, self.part)
        return [(i + 1, at, min(self.part, self.size - at)) for i, at in enumerate(starts)]


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory(field: str) -> int:
    """Bytes of VmRSS or VmHWM. Not ru_maxrss: that begins with the parent's peak."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(text.split(field + ":")[1].split()[0]) * 1024


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def ours(job: Job) -> None:
    """The public client as anybody uses it: signatures, retries, CRC-64, journal, verification."""
    from ossmp_jupyter import OSSClient

    preload()

    async def main() -> None:
        async with OSSClient(
            endpoint=job.base, region=REGION, bucket=BUCKET, access_key_id=KEY_ID, access_key_secret=SECRET
        ) as oss:
            own = {} if job.name.endswith("-defaults") else {"part_size": job.part, "parallel": job.parallel}
            job.begin()
            await oss.multipart_upload(job.key, job.file, **own)
            job.end()

    with tempfile.TemporaryDirectory() as state:
        os.environ["OSSMP_STATE_DIR"] = state
        asyncio.run(main())


def ours_lanes(job: Job) -> None:
    """The transport alone: no signatures, no retries, no journal."""
    from ossmp_jupyter.transfer.lanes import PartBody, make_http_client
    from ossmp_jupyter.transfer.sources import FileSource

    preload()

    async def main() -> None:
        source = FileSource(job.file)
        source.open()
        async with make_http_client(max_lanes=job.parallel) as http:

            async def put(url: str, offset: int, length: int) -> str:
                import httpx

                body = PartBody(source, offset, length)
                limits = {"timeout": http.timeout.as_dict()}
                answer = await http.send(httpx.Request("PUT", url, stream=body, extensions=limits))
                return check(answer)

            job.begin()
            await by_hand(job, http, put)
            job.end()
        source.close()

    asyncio.run(main())


def plain_httpx(job: Job) -> None:
    """What one would write first: httpx.AsyncClient, each part read in a thread and sent as bytes."""
    import httpx

    preload()

    async def main() -> None:
        limits = httpx.Limits(max_connections=job.parallel, max_keepalive_connections=job.parallel)
        descriptor = os.open(job.file, os.O_RDONLY)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:

            async def put(url: str, offset: int, length: int) -> str:
                data = await asyncio.to_thread(os.pread, descriptor, length, offset)
                return check(await http.put(url, content=data))

            job.begin()
            await by_hand(job, http, put)
            job.end()
        os.close(descriptor)

    asyncio.run(main())


def preload() -> None:
    """Import what httpx imports with its first request: imports are outside the window for everybody."""
    for name in ("httpcore", "anyio._backends._asyncio"):
        importlib.import_module(name)


def check(answer: Any) -> str:
    answer.raise_for_status()
    return str(answer.headers["etag"])


async def by_hand(job: Job, http: Any, put: Callable[[str, int, int], Any]) -> None:
    url = f"{job.base}/{BUCKET}/{job.key}"
    begun = await http.post(f"{url}?uploads")
    upload = begun.text.split("<UploadId>")[1].split("<")[0]
    etags: dict[int, str] = {}
    ranges = iter(job.ranges())

    async def worker() -> None:
        for number, offset, length in ranges:
            etags[number] = await put(f"{url}?partNumber={number}&uploadId={upload}", offset, length)

    await asyncio.gather(*(worker() for _ in range(job.parallel)))
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{etags[n]}</ETag></Part>" for n in sorted(etags)
    )
    xml = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
    (await http.post(f"{url}?uploadId={upload}", content=xml.encode())).raise_for_status()


def oss2(job: Job) -> None:
    import oss2 as sdk

    session = sdk.Session(pool_size=max(10, job.parallel))
    bucket = sdk.Bucket(sdk.Auth(KEY_ID, SECRET), job.base, BUCKET, session=session)
    with tempfile.TemporaryDirectory() as state:
        store = sdk.ResumableStore(root=state)
        own = {} if job.name.endswith("-defaults") else {"part_size": job.part, "num_threads": job.parallel}
        job.begin()
        sdk.resumable_upload(bucket, job.key, job.file, store=store, multipart_threshold=100 << 10, **own)
        job.end()


def alibabacloud_v2(job: Job) -> None:
    import alibabacloud_oss_v2 as sdk

    config = sdk.config.load_default()
    config.credentials_provider = sdk.credentials.StaticCredentialsProvider(KEY_ID, SECRET)
    config.region, config.endpoint, config.use_path_style = REGION, job.base, True
    own = {} if job.name.endswith("-defaults") else {"part_size": job.part, "parallel_num": job.parallel}
    uploader = sdk.Client(config).uploader(**own)
    job.begin()
    uploader.upload_file(sdk.PutObjectRequest(bucket=BUCKET, key=job.key), filepath=job.file)
    job.end()


def opendal(job: Job) -> None:
    import opendal as sdk

    operator = sdk.Operator(
        "oss", endpoint=job.base, bucket=BUCKET, access_key_id=KEY_ID, access_key_secret=SECRET, root="/",
        addressing_style="path",
    )  # fmt: skip
    job.begin()
    with (
        open(job.file, "rb", buffering=0) as file,
        operator.open(job.key, "wb", chunk=job.part, concurrent=job.parallel) as writer,
    ):
        while data := file.read(1 << 20):
            writer.write(data)
    job.end()


CLIENTS: dict[str, Callable[[Job], None]] = {
    "ours": ours,
    "ours-defaults": ours,
    "ours-lanes": ours_lanes,
    "httpx": plain_httpx,
    "oss2": oss2,
    "oss2-defaults": oss2,
    "v2": alibabacloud_v2,
    "v2-defaults": alibabacloud_v2,
    "opendal": opendal,
}


def on_core() -> tuple[float, float, float]:
    """Of this thread: the time now, seconds on a core, seconds of waiting for a core (Linux only)."""
    ran, waited, _ = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
    return time.perf_counter(), int(ran) / 1e9, int(waited) / 1e9


def compute_meanwhile(job: Job) -> float:
    """Compute while the upload runs; the share of the time in which we waited for the GIL.

    That is the time in which this thread neither ran nor waited for a core.
    """
    failure: list[BaseException] = []

    def upload() -> None:
        try:
            CLIENTS[job.name](job)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=upload)
    thread.start()
    first: tuple[float, float, float] | None = None
    while thread.is_alive() and not job.result:
        if first is None and job.begun is not None:
            first = on_core()
        total = 0
        for number in range(2000):
            total += number * number
    last = on_core()
    thread.join()
    if failure:
        raise failure[0]
    assert first is not None
    wall, ran, waited = (b - a for a, b in zip(first, last, strict=True))
    return max(0.0, wall - ran - waited) / wall


def main(arguments: list[str]) -> None:
    job = Job(arguments)
    if arguments[5:] == ["busy"]:
        job.result["gil_wait"] = compute_meanwhile(job)
    else:
        CLIENTS[job.name](job)
    print(json.dumps(job.result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
