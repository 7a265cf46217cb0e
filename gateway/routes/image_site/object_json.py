"""Renders stored objects and download links for the site's front ends (docs/rest.md#direct-links)."""

from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.storage.v1 import storage_pb2 as storagepb

from gateway.routes.image_site.permanent_copies import Wish
from services.chassis.names import parse_key

LINK_LIFETIME = "20 minutes"  # the provider's own words (docs/rest.md#direct-links)
NOT_FOUND = "文件尚未上传到R2"  # the words of S0 (docs/rest.md#finding-results)


def link(found: generationpb.DownloadLink, url: str, task_id: str) -> dict[str, Any]:
    """Where to download a picture now."""
    if found.direct:
        return {"success": True, "downloadUrl": found.uri, "isDirectUrl": True}
    return {
        "success": True,
        "downloadUrl": found.uri,
        "originalUrl": url,
        "taskId": task_id or None,
        "expiresIn": LINK_LIFETIME,
    }


def kept(stored: storagepb.Object, asked: Wish) -> dict[str, Any]:
    """A picture that now has a permanent copy."""
    key = parse_key(stored.name)
    return {
        "success": True,
        "publicUrl": stored.uri,
        "url": stored.uri,
        "key": key,
        "fileName": key.rpartition("/")[2],
        "size": stored.size_bytes,
        "contentType": stored.content_type,
        "taskId": asked.task_id or stored.generation_id or None,
        "originalUrl": asked.url,
    }


def uploaded(stored: storagepb.Object) -> dict[str, Any]:
    """A picture that a client uploaded."""
    return {
        "success": True,
        "fileUrl": stored.uri,
        "fileName": stored.original_name,
        "fileType": stored.content_type,
        "fileSize": stored.size_bytes,
        "key": parse_key(stored.name),
        "message": "The picture is uploaded.",
    }


def generated(stored: storagepb.Object | None) -> dict[str, Any]:
    """Whether a task's picture is stored, and where."""
    if stored is None:
        return {"success": True, "found": False, "message": NOT_FOUND}
    return {"success": True, "found": True, "url": stored.uri, "key": parse_key(stored.name)}
