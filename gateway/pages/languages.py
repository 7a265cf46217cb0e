"""The languages in which search engines and link previews are told of a share, and where each page is."""

LOCALES = {"ja": "ja_JP", "en": "en_US", "zh": "zh_CN"}
"""Open Graph's name of each language."""
DEFAULT = "en"


def alternates(share_id: str) -> dict[str, str]:
    """The path of a share's page by the value of hreflang; /en/share/{id} is the seed's."""
    places = {language: f"/{language}/share/{share_id}" for language in LOCALES}
    return {**places, "x-default": f"/share/{share_id}"}
