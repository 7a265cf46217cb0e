"""Who may act in whose name: sessions of browsers, development identity, and sites where nobody can sign in."""

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from gateway.auth.authenticator import DEVELOPER, User, authenticator, user_of
from gateway.auth.settings import IdentitySettings
from gateway.rest.multipart import display_name
from services.chassis.errors import PermissionDenied, Unauthenticated
from tests.gateway.auth.issuer import AUDIENCE, SECRET, SignIn, publishing
from tests.gateway.auth.issuer import claims as good_claims
from tests.gateway.auth.test_tokens import shared
from tests.gateway.conftest import Connect
from tests.scripts import NAMES

OWN, EVIL = "https://site.example", "https://evil.example"
DEVELOPMENT = authenticator(IdentitySettings(auth_dev_mode=True), frozenset({OWN}))
SIGNED_IN = authenticator(
    IdentitySettings(auth_hs256_secret=SecretStr(SECRET), auth_audience=AUDIENCE), frozenset({OWN})
)


def session() -> dict[str, str]:
    """The cookie of whoever is signed in now; made when it is needed, since tokens live for minutes."""
    return {"cookie": f"__session={shared()}"}


def asked(method: str = "POST", **headers: str) -> Request:
    """A request with these headers, underscores for hyphens."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": pairs})


@pytest.mark.parametrize("host", ["localhost:8080", "localhost", "127.0.0.1:8080", "[::1]:8080", "site.localhost"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_whoever_uses_this_machine_is_the_developer(host: str, method: str) -> None:
    found = await DEVELOPMENT.person(asked(method, host=host))

    assert found
    assert (found.id, found.name) == (DEVELOPER.id, DEVELOPER.name)


@pytest.mark.parametrize(
    "host", ["rebind.example:8080", "10.0.0.5", "localhost.evil.example", "", "[", "evil@localhost."]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_name_that_was_rebound_to_this_machine_is_not_the_developer(host: str, method: str) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await DEVELOPMENT.person(asked(method, host=host))

    assert refused.value.reason == "FOREIGN_HOST"


@pytest.mark.parametrize("page", ["http://localhost:3000", "http://127.0.0.1:5173", OWN])
async def test_pages_of_this_machine_and_of_the_list_act_as_the_developer(page: str) -> None:
    found = await DEVELOPMENT.person(asked("DELETE", host="localhost:8080", origin=page))

    assert found
    assert found.id == DEVELOPER.id


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": EVIL, "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_a_page_from_elsewhere_does_not_act_as_the_developer(headers: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied):
        await DEVELOPMENT.person(asked("DELETE", host="localhost:8080", **headers))


async def test_a_page_from_elsewhere_does_not_read_as_the_developer() -> None:
    with pytest.raises(PermissionDenied):
        await DEVELOPMENT.person(asked("GET", host="localhost:8080", origin=EVIL))


@pytest.mark.parametrize("headers", [{"origin": OWN}, {"sec_fetch_site": "same-origin"}])
async def test_a_page_of_ours_writes_with_the_cookie(headers: dict[str, str]) -> None:
    person = await SIGNED_IN.person(asked("POST", **headers, **session()))

    assert person is not None
    assert person.id == good_claims()["sub"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": EVIL},
        {"origin": "null", "sec_fetch_site": "same-origin"},
    ],
)
async def test_a_cookie_alone_does_not_write(headers: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied):
        await SIGNED_IN.person(asked("POST", **headers, **session()))


async def test_a_cookie_reads_wherever_it_comes_from() -> None:
    assert await SIGNED_IN.person(asked("GET", **session())) is not None


async def test_a_token_of_another_scheme_does_not_spoil_a_good_cookie() -> None:
    person = await SIGNED_IN.person(asked("GET", authorization="Basic dXNlcjpwYXNz", **session()))

    assert isinstance(person, User)
    assert await SIGNED_IN.person(asked("GET", authorization="Basic dXNlcjpwYXNz")) is None


async def test_a_bearer_without_a_token_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        await SIGNED_IN.person(asked("GET", authorization="Bearer ", **session()))


ME = "/api/users/me"


async def test_without_sign_in_a_site_says_that_it_is_off(connect_with: Connect) -> None:
    for headers in ({}, {"Authorization": f"Bearer {shared()}"}, session()):
        answer = await connect_with().get(ME, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_IN_OFF")
        assert "operator" in answer.json()["error"]


async def test_a_foreign_name_is_told_what_development_identity_is_for(connect_with: Connect) -> None:
    answer = await connect_with(auth_dev_mode=True).get(ME)  # the client calls us site.test

    assert (answer.status_code, answer.json()["code"]) == (403, "FOREIGN_HOST")


async def test_public_reads_are_anonymous_while_the_keys_cannot_be_read(connect_with: Connect) -> None:
    service = SignIn(down=True)
    service.rotate("one")
    cookie = {"Cookie": f"__session={service.token('one')}"}
    async with publishing(service) as url:
        trust = {"auth_jwks_url": url, "auth_issuer": "https://id.example", "auth_audience": "kawaii-site"}
        client = connect_with(**trust)
        feed = await client.get("/api/feed", headers=cookie)
        own = await client.get(ME, headers=cookie)

    assert feed.json()["code"] == "UNIMPLEMENTED"  # it reached the community, which is no service here
    assert (own.status_code, own.json()["code"]) == (503, "AUTH_UNAVAILABLE")
    assert own.headers["retry-after"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_of_any_script_is_kept(name: str) -> None:
    assert user_of({"sub": "ann", "name": name}).name == name
    assert display_name(f"C:\\\\pictures\\\\{name}.png".encode()) == f"{name}.png"


@pytest.mark.parametrize(
    ("claim", "name"),
    [("山田\u3000太郎", "山田 太郎"), ("a\u202eb\0c\n", "abc"), (7, ""), ("x" * 513, ""), (None, "")],
)
def test_what_is_no_name_is_left_out_and_spaces_become_one(claim: object, name: str) -> None:
    assert user_of({"sub": "ann", "name": claim}) == User("ann", name)
