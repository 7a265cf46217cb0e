"""Converts between rows and shares."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from services.share.model import Seo, Share, ShareRecord

WORDS = ("keywords_ja", "keywords_en")


def to_row(share: Share, token_digest: str) -> dict[str, Any]:
    """Every column of a share but the sequence, which the database counts."""
    row = asdict(share) | {
        "generated_digest": hashlib.sha256(share.generated_ref.encode()).hexdigest(),
        "seo_tags": json.dumps(share.seo_tags, ensure_ascii=False),
        "seo": json.dumps(asdict(share.seo), ensure_ascii=False),
        "visibility": int(share.visibility),
        "token_digest": token_digest,
    }
    del row["sequence"]
    return row


def to_share(row: RowMapping | Mapping[str, Any]) -> Share:
    """The share of a row that holds SHARE_COLUMNS."""
    seo_texts = json.loads(row["seo"])
    seo = Seo(**seo_texts | {name: tuple(seo_texts[name]) for name in WORDS})
    return Share(**dict(row) | {"seo": seo, "seo_tags": tuple(json.loads(row["seo_tags"]))})


def to_record(row: RowMapping) -> ShareRecord:
    """The record of a row that holds SHARE_COLUMNS and the digest."""
    columns = dict(row)
    digest: str = columns.pop("token_digest")
    return ShareRecord(to_share(columns), digest)
