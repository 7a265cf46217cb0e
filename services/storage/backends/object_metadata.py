"""The user metadata of an object in a bucket, which a public bucket shows to everybody as x-amz-meta-*."""

from datetime import UTC, datetime

from services.storage.model import ObjectMetadata, Stat

SHA256 = "sha256"


def user_metadata(metadata: ObjectMetadata, stat: Stat) -> dict[str, str]:
    """The metadata, which holds no personal data, and the hash by which a repeated put is recognised."""
    fields = {
        "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "fileSize": str(stat.size),
        "source": metadata.source,
        SHA256: stat.sha256,
    }
    return {name: value for name, value in fields.items() if value}
