"""Writes an object's label as the metadata of a bucket, which a public bucket shows to everybody as x-amz-meta-*."""

from datetime import UTC, datetime

from services.storage.model import Label, Stat

SHA256 = "sha256"


def metadata(label: Label, stat: Stat) -> dict[str, str]:
    """What tells nothing of people, and the hash by which a repeated put knows its own work."""
    fields = {
        "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "fileSize": str(stat.size),
        "source": label.source,
        SHA256: stat.sha256,
    }
    return {name: value for name, value in fields.items() if value}
