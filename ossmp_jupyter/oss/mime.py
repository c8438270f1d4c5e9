"""Content types by file name, data formats first."""

from __future__ import annotations

__all__ = ["UNKNOWN_MIME", "guess_mime"]

UNKNOWN_MIME = "application/octet-stream"

# What mimetypes does not know, knows differently on every machine, or takes apart wrongly (x.csv.gz).
_MIME = {
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".feather": "application/vnd.apache.arrow.file",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".hdf": "application/x-hdf",
    ".nc": "application/x-netcdf",
    ".zarr": "application/vnd.zarr",
    ".safetensors": "application/vnd.safetensors",
    ".onnx": "application/onnx",
    ".gguf": "application/vnd.gguf",
    ".nc4": "application/x-netcdf",
    ".grib2": "application/vnd.wmo.grib2",
    ".mat": "application/x-matlab-data",
    ".fits": "application/fits",
    ".las": "application/vnd.las",
    ".laz": "application/vnd.laszip",
    ".gpkg": "application/geopackage+sqlite3",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".geojson": "application/geo+json",
    ".ipynb": "application/x-ipynb+json",
    ".pt": "application/vnd.pytorch",
    ".pth": "application/vnd.pytorch",
    ".pkl": "application/x-pickle",
    ".pickle": "application/x-pickle",
    ".avro": "application/vnd.apache.avro",
    ".orc": "application/vnd.apache.orc",
    ".duckdb": "application/vnd.duckdb",
    ".sqlite": "application/vnd.sqlite3",
    ".sqlite3": "application/vnd.sqlite3",
    ".db": "application/octet-stream",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
    ".zip": "application/zip",
    ".tar": "application/x-tar",
    ".7z": "application/x-7z-compressed",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".xml": "application/xml",
    ".py": "text/x-python",
    ".r": "text/x-r",
    ".sql": "application/sql",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xls": "application/vnd.ms-excel",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wasm": "application/wasm",
}


def guess_mime(name: str) -> str:
    """Guess a Content-Type from a file name or key; the same answer on every machine.

    Examples
    --------
    >>> guess_mime("data.PARQUET"), guess_mime("rows.csv.gz"), guess_mime("model")
    ('application/vnd.apache.parquet', 'application/gzip', 'application/octet-stream')
    """
    leaf = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
    stem, dot, extension = leaf.rpartition(".")
    return _MIME.get(f".{extension}", UNKNOWN_MIME) if dot and stem else UNKNOWN_MIME
