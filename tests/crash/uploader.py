"""A process that uploads one file: ``python -m tests.crash.uploader ENDPOINT BUCKET KEY FILE PARALLEL``.

Credentials come from the environment. Prints ``started``, then ``done``, ``interrupted`` or the error's name
and sentence; the warning, if there is one, on a line of its own.
"""

from __future__ import annotations

import signal
import sys
import time

from ossmp_jupyter.errors import OssmpError
from ossmp_jupyter.oss.connection import connect
from ossmp_jupyter.transfer.manager import stop_engine, upload


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    endpoint, bucket, key, file, parallel = sys.argv[1:6]
    handle = upload(
        file, f"oss://{bucket}/{key}", connection=connect(endpoint=endpoint, region="cn-hangzhou"),
        part_size="100KiB", parallel=int(parallel),
    )  # fmt: skip
    print("started", flush=True)
    code = 0
    try:
        result = handle.wait()
        print(f"done {result.parts_kept} kept {result.parts_sent} sent", flush=True)
    except KeyboardInterrupt:
        began = time.monotonic()
        stop_engine()
        print(f"interrupted {time.monotonic() - began:.3f}", flush=True)
        code = 130
    except OssmpError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        code = 1
    if handle.warning:
        print(f"warning: {handle.warning}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
