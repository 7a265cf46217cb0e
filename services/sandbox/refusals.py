"""Every way in which KIE, or a proxy before it, refuses a call: one table with a row for each word of a script.

KIE refuses with a code in the JSON body, mostly under HTTP status 200 (RefusalError). Proxies and HTTP errors answer
with a page of their own (Page). Codes and sentences are those that KIE documents or that its callers report:
docs/provider.md#codes.
"""

from dataclasses import dataclass, field

from services.sandbox.model import Json

HTML = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><p>cloudflare</p></body></html>"
FREQUENCY = "Your call frequency is too high. Please try again later."
NO_ACCESS = "You do not have access permissions"
NO_CREDIT = "Credits insufficient : Your current balance isn't enough to run this request. Please top up to continue."
NO_RECORD = "recordInfo is null"
SERVER_ERROR = "Server exception, please try again later or contact customer service"


class RefusalError(Exception):
    """KIE refuses a call, with a code of its own and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Page:
    """An answer that KIE's code did not write: a proxy's page, or an HTTP error."""

    status: int
    body: Json | str
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "text/html"


def _proxy(status: int, title: str) -> Page:
    return Page(status, HTML.format(title=title))


BLOCKED = Page(403, "error code: 1010", media_type="text/plain")
"""The page of the proxy before KIE's file hosts for clients without a User-Agent."""

REFUSALS: dict[str, tuple[int, str] | Page] = {
    "401": (401, NO_ACCESS),
    "402": (402, NO_CREDIT),
    "404": (404, "Not Found"),
    "422": (422, "Validation Error: the request parameters failed the validation checks"),
    "429": (429, FREQUENCY),
    "429http": Page(429, {"code": 429, "msg": FREQUENCY, "data": None}, {"retry-after": "1"}),
    "433": (433, "The usage of the sub-key exceeds its limit"),
    "451": (451, "Failed to fetch the image. Kindly verify any access limits set by you or your provider."),
    "455": (455, "The service is under maintenance. Please try again later."),
    "500": (500, SERVER_ERROR),
    "500required": (500, "prompt is required"),
    "500paused": (500, "This interface is temporarily paused."),
    "501": (501, "Generation Failed"),
    "505": (505, "The requested feature is currently disabled"),
    "550": (550, "The task was refused because the queue is full. Please try again later."),
    "http500": Page(500, {"code": 500, "msg": "Internal Server Error", "data": None}),
    "edge408": Page(408, {"message": "Request Timeout"}),
    "edge500": Page(500, {"message": "Internal Server Error"}),
    "edge501": Page(501, {"message": "Not Implemented"}),
    "html408": _proxy(408, "408 Request Timeout"),
    "html501": _proxy(501, "501 Not Implemented"),
    "html502": _proxy(502, "502 Bad Gateway"),
    "html524": _proxy(524, "524: A timeout occurred"),
    "1010": BLOCKED,
}


def refuse(word: str) -> Page:
    """The page that a word of a script means.

    Raises:
        RefusalError: the word means a code in KIE's envelope.
    """
    answer = REFUSALS[word]
    if isinstance(answer, Page):
        return answer
    raise RefusalError(*answer)
