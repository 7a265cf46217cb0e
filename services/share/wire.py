"""Translates between the model and kawaii.share.v1; the only place where a ref becomes a URL."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.share.v1 import share_pb2 as sharepb

from services.chassis.files import PublicFiles
from services.chassis.names import name, parse_id
from services.share.model import Draft, Link, Links, Page, Query, Seo, Share, Stats

COLLECTION = "shares"


def share_id(resource_name: str) -> str:
    """The id in shares/{share_id}."""
    return parse_id(COLLECTION, resource_name)


def share_ids(resource_names: Iterable[str]) -> list[str]:
    """The ids in several names."""
    return [share_id(each) for each in resource_names]


def draft(given: sharepb.Share) -> Draft:
    """What a caller wants to share; the fields that are ours to fill are ignored."""
    return Draft(
        generated_uri=given.generated_uri,
        original_uri=given.original_uri,
        prompt=given.prompt,
        style=given.style,
        model=given.model,
        generate_ms=given.generate_time.seconds * 1000 + given.generate_time.nanos // 1_000_000,
        stored=given.stored,
        seo_tags=tuple(given.seo_tags),
        unlisted=given.unlisted,
    )


def query(request: sharepb.ListSharesRequest) -> Query:
    """What a caller asks of the gallery."""
    return Query(request.page_size, request.page_token, request.skip, request.style, request.model, request.tag)


def share(given: Share, files: PublicFiles) -> sharepb.Share:
    """The share as callers see it, with the URLs of today."""
    return sharepb.Share(
        name=name(COLLECTION, given.id),
        generated_uri=uri(given.generated_ref, files),
        original_uri=uri(given.original_ref, files),
        prompt=given.prompt,
        style=given.style,
        model=given.model,
        generate_time=timestamp(given.generate_ms),
        stored=given.stored,
        seo_tags=given.seo_tags,
        seo=seo(given.seo),
        published=given.published,
        create_time=timestamp(given.create_ms),
        publish_time=timestamp(given.publish_ms),
        unlisted=given.unlisted and not given.published,
    )


def seo(given: Seo) -> sharepb.Share.Seo:
    """What search engines are told; by hand, since asdict takes as long as all the rest of a share."""
    return sharepb.Share.Seo(
        model_label=given.model_label,
        title_ja=given.title_ja,
        title_en=given.title_en,
        description_ja=given.description_ja,
        description_en=given.description_en,
        keywords_ja=given.keywords_ja,
        keywords_en=given.keywords_en,
    )


def uri(ref: str, files: PublicFiles) -> str:
    """The URL of a ref: keys hold no colon, URLs do."""
    return ref if ":" in ref else files.uri(ref)


def timestamp(milliseconds: int) -> Timestamp | None:
    """The moment; None, which leaves a field unset, for 0."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000) if milliseconds else None


def created(given: Share, token: str, files: PublicFiles) -> sharepb.CreateShareResponse:
    """The share and its token."""
    return sharepb.CreateShareResponse(share=share(given, files), publish_token=token)


def batch(shares: Iterable[Share], files: PublicFiles) -> sharepb.BatchGetSharesResponse:
    """Several shares."""
    return sharepb.BatchGetSharesResponse(shares=(share(each, files) for each in shares))


def page(given: Page, files: PublicFiles) -> sharepb.ListSharesResponse:
    """A page of the gallery."""
    shares = (share(each, files) for each in given.shares)
    return sharepb.ListSharesResponse(shares=shares, next_page_token=given.next_token, total_size=given.total)


def links(given: Links) -> sharepb.ListShareLinksResponse:
    """The links of a block."""
    return sharepb.ListShareLinksResponse(links=map(link, given.links), block_count=given.blocks)


def link(given: Link) -> sharepb.ShareLink:
    """A share as a sitemap names it."""
    return sharepb.ShareLink(name=name(COLLECTION, given.id), update_time=timestamp(given.update_ms))


def latest(shares: Iterable[Share], files: PublicFiles) -> sharepb.ListLatestSharesResponse:
    """The latest shares."""
    return sharepb.ListLatestSharesResponse(shares=(share(each, files) for each in shares))


def stats(given: Stats) -> sharepb.ShareStats:
    """The counts."""
    return sharepb.ShareStats(
        total_count=given.total,
        stored_count=given.stored,
        published_count=given.published,
        update_time=timestamp(given.update_ms),
    )
