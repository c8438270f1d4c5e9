"""The environment variables of the embedded OSS, in one place that costs nothing to import."""

from __future__ import annotations

__all__ = ["LOCK_VARIABLE", "ROOT_VARIABLE", "SECRET_VARIABLE", "TOKEN_VARIABLE"]

SECRET_VARIABLE = "OSSMP_LOCALOSS_ACCESS_KEY_SECRET"
TOKEN_VARIABLE = "OSSMP_LOCALOSS_SECURITY_TOKEN"
LOCK_VARIABLE = "OSSMP_LOCALOSS_LOCK_SECONDS"
ROOT_VARIABLE = "OSSMP_LOCALOSS_ROOT"
