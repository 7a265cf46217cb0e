"""Every way in which KIE, or what stands before it, says no: one table, a row for each word of the script language."""

from dataclasses import dataclass, field

from services.sandbox.model import Json, RefusalError

HTML = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><p>cloudflare</p></body></html>"


@dataclass(frozen=True)
class Refusal:
    """A business answer of KIE: a code in the body."""

    code: int
    message: str


@dataclass(frozen=True)
class Page:
    """An answer that KIE's code did not write: a gateway's page, or an HTTP error."""

    status: int
    body: Json | str
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "text/html"


def _gateway(status: int, title: str) -> Page:
    return Page(status, HTML.format(title=title))


FREQUENCY = "Your call frequency is too high. Please try again later."
NO_ACCESS = "You do not have access permissions"
NO_CREDIT = "Credits insufficient : Your current balance isn't enough to run this request. Please top up to continue."
NO_RECORD = "recordInfo is null"
SERVER_ERROR = "Server exception, please try again later or contact customer service"

# Codes and sentences: kie.md 4.1, 6.1 to 6.3.
REFUSALS: dict[str, Refusal | Page] = {
    "401": Refusal(401, NO_ACCESS),
    "402": Refusal(402, NO_CREDIT),
    "404": Refusal(404, "Not Found"),
    "422": Refusal(422, "Validation Error: the request parameters failed the validation checks"),
    "429": Refusal(429, FREQUENCY),
    "429http": Page(429, {"code": 429, "msg": FREQUENCY, "data": None}, {"retry-after": "1"}),
    "433": Refusal(433, "The usage of the sub-key exceeds its limit"),
    "451": Refusal(451, "Failed to fetch the image. Kindly verify any access limits set by you or your provider."),
    "455": Refusal(455, "The service is under maintenance. Please try again later."),
    "500": Refusal(500, SERVER_ERROR),
    "500required": Refusal(500, "prompt is required"),
    "500paused": Refusal(500, "This interface is temporarily paused."),
    "501": Refusal(501, "Generation Failed"),
    "505": Refusal(505, "The requested feature is currently disabled"),
    "550": Refusal(550, "The task was refused because the queue is full. Please try again later."),
    "http500": Page(500, {"code": 500, "msg": "Internal Server Error", "data": None}),
    "edge408": Page(408, {"message": "Request Timeout"}),
    "edge500": Page(500, {"message": "Internal Server Error"}),
    "edge501": Page(501, {"message": "Not Implemented"}),
    "html408": _gateway(408, "408 Request Timeout"),
    "html501": _gateway(501, "501 Not Implemented"),
    "html502": _gateway(502, "502 Bad Gateway"),
    "html524": _gateway(524, "524: A timeout occurred"),
    "1010": Page(403, "error code: 1010", media_type="text/plain"),
}


def refuse(word: str) -> Page:
    """The page that a word stands for.

    Raises:
        RefusalError: it stands for a business answer, which the app words as every other.
    """
    answer = REFUSALS[word]
    if isinstance(answer, Page):
        return answer
    raise RefusalError(answer.code, answer.message)
