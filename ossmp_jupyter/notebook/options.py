"""The options of every magic, in one place: parsers, help texts and completion read them here."""

from __future__ import annotations

from functools import cache

from ossmp_jupyter.notebook.parser import MagicParser

__all__ = ["ID_HELP", "MAGICS", "UI_MODES", "parser_for"]

UI_MODES = ("auto", "widget", "text", "none")
ID_HELP = "our short ID, the OSS upload ID, or the beginning of either"

MAGICS = (
    "oss_connect",
    "oss_upload",
    "oss_uploads",
    "oss_pick",
    "oss_parts",
    "oss_abort",
    "oss_pause",
    "oss_resume",
    "oss_wait",
    "oss_head",
    "oss_verify",
    "oss_link",
)


@cache
def parser_for(name: str) -> MagicParser:
    """Return the argument parser of one magic, such as ``"oss_upload"``."""
    return _BUILDERS[name]()


def _connect() -> MagicParser:
    p = MagicParser(
        "oss_connect",
        "[oss://BUCKET] [options] | --local [--root DIR] [--bandwidth 20MB/s]",
        "Choose the service, the bucket and the credentials for the magics that follow.",
        "Credentials come from OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, ~/.ossutilconfig or\n"
        "~/.aliyun/config.json; never write them in a cell. Without arguments: show the connection.\n\n"
        "examples:\n"
        "  %oss_connect oss://my-bucket --region cn-hangzhou\n"
        "  %oss_connect --local                  the embedded OSS on this machine, for trying things out",
    )
    p.add_argument("bucket", nargs="?", metavar="oss://BUCKET", help="the bucket that bare keys belong to")
    p.add_argument("--region", metavar="R", help="such as cn-hangzhou")
    p.add_argument("--endpoint", metavar="URL", help="such as https://oss-cn-hangzhou.aliyuncs.com")
    p.add_argument("--profile", metavar="P", help="profile of ~/.ossutilconfig or ~/.aliyun/config.json")
    p.add_argument("--cname", action="store_true", help="the endpoint is the bucket's own domain")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--internal", action="store_true", help="the region's endpoint inside Alibaba Cloud")
    where.add_argument("--accelerate", action="store_true", help="the endpoint of transfer acceleration")
    where.add_argument("--dualstack", action="store_true", help="the region's endpoint with IPv6")
    p.add_argument("--ca-file", metavar="FILE", help="authorities to trust, as PEM (default: the usual ones)")
    p.add_argument("--cors", metavar="ORIGIN", nargs="?", const="*",
                   help="print the CORS rule that pages of ORIGIN need to upload by themselves")  # fmt: skip
    p.add_argument("--path-style", action="store_true", help="write the bucket into the path, not the host")
    p.add_argument("--signature", choices=("v1", "v4"), help="signature version (v4)")
    p.add_argument("--local", action="store_true", help="use the embedded OSS; needs no account")
    p.add_argument("--root", metavar="DIR", help="where the embedded OSS keeps its objects")
    p.add_argument("--bandwidth", metavar="B/s", help="make the embedded OSS as slow as a line, e.g. 20MB/s")
    return p


def _upload() -> MagicParser:
    p = MagicParser(
        "oss_upload",
        "SOURCE... DEST [options]",
        "Upload files to Alibaba Cloud OSS in parts, verify them, and wait; raises when it fails.",
        "DEST is oss://bucket/key, oss://bucket/dir/ (keeps the file's name), or a key or dir/ alone in the\n"
        "connected bucket. Several sources, patterns such as *.csv and folders need a DEST that ends in /.\n"
        "Running the same line again attaches to the live upload or resumes the broken one. The stop button\n"
        "pauses, never aborts. {expression} and $name are filled in from the notebook, a list as several\n"
        "arguments; {{, }} and $$ are the characters.\n\n"
        "examples:\n"
        "  %oss_upload data.csv oss://my-bucket/2026/\n"
        "  %oss_upload {path} models/{name}.pt --part-size 16MiB --parallel 8 --meta owner=me\n"
        "  %oss_upload -r results oss://my-bucket/run-7/\n"
        "  result = %oss_upload 'my data.bin' oss://my-bucket/data.bin",
    )
    p.add_argument("items", nargs="*", metavar="SOURCE", help="files or patterns, and the destination last")
    p.add_argument("-r", "--recursive", action="store_true", help="folders: all files below them")
    p.add_argument(
        "--part-size", metavar="SIZE", help="bytes or a unit: 8MiB (the default; more for large files)"
    )
    p.add_argument(
        "--parallel",
        metavar="N",
        help="parts in flight at once (default: 5, up to 32 where that is faster)",
    )
    p.add_argument("--meta", metavar="K=V", action="append", help="user metadata; repeatable")
    p.add_argument("--mime", metavar="TYPE", help="Content-Type (default: from the name)")
    p.add_argument("--header", metavar='"K: V"', action="append", help="another header; repeatable")
    p.add_argument("--storage-class", metavar="CLASS", help="Standard, IA, Archive, ...")
    p.add_argument("--tag", metavar="K=V", action="append", help="object tag; repeatable")
    p.add_argument("--acl", metavar="ACL", help="default, private, public-read or public-read-write")
    p.add_argument("--encryption", metavar="ALG", help="encrypt on the server: AES256, KMS or SM4")
    p.add_argument("--kms-key-id", metavar="ID", help="the key for --encryption KMS")
    p.add_argument("--traffic-limit", metavar="BIT/S", help="limit of each request, from 819200")
    p.add_argument("--forbid-overwrite", action="store_true", help="fail when the object exists already")
    p.add_argument("--callback", metavar="NAME", help="variable that holds the callback as a dict")
    p.add_argument("--progress", metavar="NAME", help="function(fraction, checkpoint, response), or async")
    p.add_argument("--checkpoint", metavar="FILE", help="keep the checkpoint in this file")
    p.add_argument("--no-checkpoint", action="store_true", help="keep no checkpoint on disk")
    p.add_argument("--fresh", action="store_true", help="start anew, whatever was begun before")
    p.add_argument("--simple", action="store_true", help="one PutObject instead of parts")
    p.add_argument("--timeout", metavar="S", help="seconds without an answer (default 60)")
    p.add_argument("-b", "--background", action="store_true", help="return a handle at once, do not wait")
    p.add_argument("--ui", choices=UI_MODES, help="how progress shows (auto)")
    p.add_argument("-o", metavar="NAME", dest="output", help="variable for the result (a handle on failure)")
    p.add_argument("-q", "--quiet", action="store_true", help="show nothing unless it fails")
    return p


def _uploads() -> MagicParser:
    p = MagicParser(
        "oss_uploads",
        "[--prefix P] [--local-only] [--ui auto|widget|text|none] | --abort-older AGE [--yes]",
        "Show uploads: this kernel's, those begun earlier on this machine, and the bucket's unfinished ones.",
        "Select one and Abort it, List its parts, Pause or Resume it.\n\n"
        "examples:\n"
        "  %oss_uploads\n"
        "  %oss_uploads --abort-older 7d          show what would be aborted\n"
        "  %oss_uploads --abort-older 7d --yes    abort it",
    )
    p.add_argument("--prefix", metavar="P", default="", help="only unfinished uploads whose key begins so")
    p.add_argument("--local-only", action="store_true", help="do not ask the bucket")
    p.add_argument(
        "--abort-older", metavar="AGE", help="the bucket's unfinished uploads of that age: 7d, 12h"
    )
    p.add_argument("--yes", action="store_true", help="abort them; without it they are only shown")
    p.add_argument("--ui", choices=UI_MODES, help="how it shows (auto)")
    return p


def _parts() -> MagicParser:
    p = MagicParser("oss_parts", "ID", "List the parts that OSS holds of one upload; returns them as a list.")
    p.add_argument("id", metavar="ID", help=ID_HELP)
    p.add_argument("--all", action="store_true", help="print all parts, not just the first and last few")
    return p


def _abort() -> MagicParser:
    p = MagicParser(
        "oss_abort",
        "ID",
        "Abort one upload: its parts on OSS are deleted. No other upload is touched.",
    )
    p.add_argument("id", metavar="ID", help=ID_HELP)
    return p


def _pause() -> MagicParser:
    p = MagicParser("oss_pause", "ID", "Pause one upload of this kernel; everything sent is kept.")
    p.add_argument("id", metavar="ID", help=ID_HELP)
    return p


def _resume() -> MagicParser:
    p = MagicParser(
        "oss_resume",
        "ID [FILE] [-b]",
        "Resume a paused, failed or earlier upload and wait for it.",
        "Parts that OSS holds are kept if their content is proved equal to the file's. FILE is needed only\n"
        "where no checkpoint on this machine names it.",
    )
    p.add_argument("id", metavar="ID", help=ID_HELP)
    p.add_argument("file", nargs="?", metavar="FILE", help="the source, when it is not known here")
    p.add_argument("-b", "--background", action="store_true", help="return a handle at once, do not wait")
    p.add_argument("--ui", choices=UI_MODES, help="how progress shows (auto)")
    p.add_argument("-q", "--quiet", action="store_true", help="show nothing unless it fails")
    return p


def _wait() -> MagicParser:
    p = MagicParser(
        "oss_wait",
        "[ID...]",
        "Wait for uploads of this kernel (all live ones without IDs); raises when one failed.",
    )
    p.add_argument("ids", nargs="*", metavar="ID", help=ID_HELP)
    p.add_argument("--ui", choices=UI_MODES, help="how progress shows (auto)")
    p.add_argument("-q", "--quiet", action="store_true", help="show nothing unless it fails")
    return p


def _head() -> MagicParser:
    p = MagicParser(
        "oss_head", "KEY", "Show size, type, ETag, CRC-64 and metadata of an object; returns them."
    )
    p.add_argument("key", metavar="KEY", help="oss://bucket/key, or a key in the connected bucket")
    p.add_argument("-q", "--quiet", action="store_true", help="only return the result")
    return p


def _link() -> MagicParser:
    p = MagicParser(
        "oss_link",
        "KEY [--expires 1d]",
        "Make a link that downloads an object without keys, and return it; the cell shows only until when it "
        "works.",
        "The link is as good as a key, and a saved notebook would keep it: print(link.url) shows it all the\n"
        "same. The panel's details copy one to the clipboard.\n\n"
        "example:\n"
        "  link = %oss_link reports/2026.csv --expires 7d",
    )
    p.add_argument("key", metavar="KEY", help="oss://bucket/key, or a key in the connected bucket")
    p.add_argument("--expires", metavar="AGE", default="1h", help="such as 30min, 12h, 7d (1h)")
    return p


def _verify() -> MagicParser:
    p = MagicParser(
        "oss_verify",
        "[OBJECT... | FILE OBJECT | NOTEBOOK.ipynb] [--deep]",
        "Check that objects are still what was published; raises when one is not.",
        "Without arguments: all that this kernel has published. OBJECT alone: by the receipt of its last\n"
        "upload from this machine, kept for 30 days. FILE OBJECT: by the file's content now. A saved\n"
        "notebook: by the receipts in its outputs. Asks for size and CRC-64; nothing is downloaded without\n"
        "--deep.\n\n"
        "examples:\n"
        "  %oss_verify\n"
        "  %oss_verify data.csv oss://my-bucket/2026/data.csv\n"
        "  %oss_verify report.ipynb",
    )
    p.add_argument("items", nargs="*", metavar="WHAT", help="objects, a file and its object, or a notebook")
    p.add_argument("--deep", action="store_true", help="download the objects and checksum every byte")
    p.add_argument("-q", "--quiet", action="store_true", help="print nothing unless it fails")
    return p


def _pick() -> MagicParser:
    p = MagicParser(
        "oss_pick",
        "[DEST] [options]",
        "Show a box for files of your own computer: drop or choose them, and they are uploaded in parts.",
        "DEST is oss://bucket/folder/, and can be changed in the box. The files pass through the kernel in\n"
        "slices and are never whole in its memory. After a lost connection or a page reload choose the file\n"
        "again: what OSS holds is not sent twice. Below the box are all uploads, as in %oss_uploads.\n\n"
        "example:\n"
        "  %oss_pick oss://my-bucket/from-my-laptop/",
    )
    p.add_argument("dest", nargs="?", metavar="DEST", help="default: the connected bucket")
    help_text = "the browser itself sends the parts to OSS; the bucket needs a CORS rule"
    p.add_argument("--direct", action="store_true", help=help_text)
    p.add_argument("--part-size", metavar="SIZE", help="bytes or a unit (4MiB)")
    p.add_argument("--parallel", metavar="N", help="parts in flight at once (4)")
    p.add_argument("--meta", metavar="K=V", action="append", help="user metadata; repeatable")
    p.add_argument("--forbid-overwrite", action="store_true", help="fail when the object exists already")
    p.add_argument("--ui", choices=UI_MODES, help="auto or widget: the box needs a page")
    return p


_BUILDERS = {
    "oss_connect": _connect,
    "oss_upload": _upload,
    "oss_uploads": _uploads,
    "oss_pick": _pick,
    "oss_parts": _parts,
    "oss_abort": _abort,
    "oss_pause": _pause,
    "oss_resume": _resume,
    "oss_wait": _wait,
    "oss_head": _head,
    "oss_verify": _verify,
    "oss_link": _link,
}
