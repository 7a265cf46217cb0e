"""Credits and the daily check-in (docs/rest.md#credits-and-check-in).

Where an operator has credits off, the answers ask for nothing: front ends read these routes on every page, and repeat
for ever what fails.
"""

from kawaii.community.v1 import credits_pb2 as creditspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.community import viewers
from gateway.routes.community.rendering import ok

CHECKED_IN = "Checked in."
ALREADY = "You have checked in today already. Come back tomorrow."
NO_CREDITS = "This site has no credits: nothing costs any, and there is nothing to collect."


async def balance(request: Request) -> Response:
    """GET /api/credits/me."""
    wanted = creditspb.GetBalanceRequest(viewer_id=await viewers.required(request))
    found = await stubs.offered(stubs.of(request).credits.GetBalance(wanted)) or creditspb.Balance()
    return ok({"credits": found.credits, "held": found.held_credits})


async def check_in_status(request: Request) -> Response:
    """GET /api/checkin/status."""
    wanted = creditspb.GetCheckInStatusRequest(viewer_id=await viewers.required(request))
    none = creditspb.CheckInStatus(checked_in=True)
    found = await stubs.offered(stubs.of(request).credits.GetCheckInStatus(wanted)) or none
    status = {
        "todayCheckedIn": found.checked_in,
        "consecutiveDays": found.streak_days,
        "totalCheckins": found.total_count,
        "lastCheckinDate": found.last_date or None,
    }
    return ok(status)


async def check_in(request: Request) -> Response:
    """POST /api/checkin/checkin: 200 with success false for a second time on one day, as FE-B expects it."""
    wanted = creditspb.CheckInRequest(viewer_id=await viewers.required(request))
    found = await stubs.offered(stubs.of(request).credits.CheckIn(wanted))
    status = found or creditspb.CheckInStatus()
    first = status.added_credits > 0
    data = {"creditsAdded": status.added_credits, "consecutiveDays": status.streak_days}
    message = NO_CREDITS if found is None else CHECKED_IN if first else ALREADY
    return Json({"success": first, "message": message, "data": data}, headers=NO_STORE)
