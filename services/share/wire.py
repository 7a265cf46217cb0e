"""Translates between the model and kawaii.share.v1; the only place where a ref becomes a URL."""

from collections.abc import Iterable

from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import share_pb2 as sharepb

from services.chassis.names import name, parse_id, parse_key
from services.chassis.protobuf import milliseconds, timestamp
from services.chassis.public_files import PublicFiles
from services.share.model import (
    NewShare,
    Query,
    Seo,
    Share,
    SharePage,
    ShareRecord,
    ShareRecordPage,
    SitemapLink,
    SitemapLinks,
    Stats,
)

COLLECTION = "shares"


def share_id(resource_name: str) -> str:
    """The id in shares/{share_id}."""
    return parse_id(COLLECTION, resource_name)


def share_ids(resource_names: Iterable[str]) -> list[str]:
    """The ids in several names."""
    return [share_id(each) for each in resource_names]


def new_share(given: sharepb.Share) -> NewShare:
    """The share to create; output-only fields are ignored."""
    return NewShare(
        generated_uri=given.generated_uri,
        original_uri=given.original_uri,
        prompt=given.prompt,
        style=given.style,
        model=given.model,
        generate_ms=milliseconds(given.generate_time),
        stored=given.stored,
        seo_tags=tuple(given.seo_tags),
        unlisted=given.unlisted,
    )


def query(request: sharepb.ListSharesRequest) -> Query:
    """The query of a list request."""
    return Query(request.page_size, request.page_token, request.skip, request.style, request.model, request.tag)


def record(given: shareadminpb.ShareRecord) -> ShareRecord:
    """An exported share. Raises InvalidArgument."""
    given_share = given.share
    share = Share(
        id=share_id(given_share.name),
        generated_ref=ref(given.generated_object, given_share.generated_uri),
        original_ref=ref(given.original_object, given_share.original_uri),
        prompt=given_share.prompt,
        style=given_share.style,
        model=given_share.model,
        generate_ms=milliseconds(given_share.generate_time),
        stored=given_share.stored,
        seo_tags=tuple(given_share.seo_tags),
        seo=seo_of(given_share.seo),
        create_ms=milliseconds(given_share.create_time),
        publish_ms=milliseconds(given_share.publish_time),
        unlisted=given_share.unlisted,
    )
    return ShareRecord(share, given.token_digest)


def ref(resource_name: str, uri: str) -> str:
    """The stored form of a picture: the key of an object of ours, else its URL."""
    return parse_key(resource_name) if resource_name else uri


def seo_of(texts: sharepb.Share.Seo) -> Seo:
    """The SEO texts of an exported share."""
    return Seo(
        texts.model_label,
        texts.title_ja,
        texts.title_en,
        texts.description_ja,
        texts.description_en,
        tuple(texts.keywords_ja),
        tuple(texts.keywords_en),
    )


def records(page: ShareRecordPage, files: PublicFiles) -> shareadminpb.ListShareRecordsResponse:
    """A page of records."""
    listed = [
        shareadminpb.ShareRecord(
            share=share(each.share, files),
            generated_object=object_name(each.share.generated_ref),
            original_object=object_name(each.share.original_ref),
            token_digest=each.token_digest,
        )
        for each in page.records
    ]
    return shareadminpb.ListShareRecordsResponse(share_records=listed, next_page_token=page.next_token)


def object_name(ref: str) -> str:
    """The resource name of a key; empty for a URL."""
    return "" if ":" in ref else name("objects", ref)


def share(given: Share, files: PublicFiles) -> sharepb.Share:
    """A share as callers see it, with URLs by the current settings."""
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
    """The SEO texts; field by field, since asdict takes as long as all the rest of a share."""
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


def created(given: Share, token: str, files: PublicFiles) -> sharepb.CreateShareResponse:
    """The share and its token."""
    return sharepb.CreateShareResponse(share=share(given, files), publish_token=token)


def batch(shares: Iterable[Share], files: PublicFiles) -> sharepb.BatchGetSharesResponse:
    """Several shares."""
    return sharepb.BatchGetSharesResponse(shares=(share(each, files) for each in shares))


def page(given: SharePage, files: PublicFiles) -> sharepb.ListSharesResponse:
    """A page of the gallery."""
    shares = (share(each, files) for each in given.shares)
    return sharepb.ListSharesResponse(shares=shares, next_page_token=given.next_token, total_size=given.total)


def links(given: SitemapLinks) -> sharepb.ListShareLinksResponse:
    """The links of a block."""
    return sharepb.ListShareLinksResponse(links=map(link, given.links), block_count=given.blocks)


def link(given: SitemapLink) -> sharepb.ShareLink:
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
