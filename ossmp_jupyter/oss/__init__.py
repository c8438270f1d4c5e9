"""The OSS REST protocol over httpx. Knows no files, no threads of its own, no notebooks."""
