"""Writes an object's label as the metadata of a bucket, where headers carry it: short, and in ASCII only."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

from services.storage.model import Label, Stat

MAX_LENGTH = 480  # of a value: S3 takes 2 KB of metadata for all of them together
READABLE = "!\"#$&'()*+,-./:;<=>?@[]^_`{|}~"  # stands as it is; the rest, and the percent sign, is escaped as in URLs
TORN_ESCAPE = re.compile(r"%[0-9A-F]?$")
SHA256 = "sha256"


def metadata(label: Label, stat: Stat) -> dict[str, str]:
    """The seeds' fields (S0 section 4) and the hash by which a repeated put knows its own work."""
    fields = {
        "originalName": label.original_name,
        "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "fileSize": str(stat.size),
        "taskId": label.task_id,
        "source": label.source,
        "originalUrl": label.original_url,
        SHA256: stat.sha256,
    }
    return {name: plain(value) for name, value in fields.items() if value}


def plain(text: str) -> str:
    """A text as a header may carry it, cut where no escape is torn."""
    return TORN_ESCAPE.sub("", quote(text, safe=READABLE)[:MAX_LENGTH])
