"""Credits and the daily check-in, where they are on (contract.md B12)."""

from kawaii.community.v1 import credits_pb2 as creditspb
from starlette.requests import Request
from starlette.responses import Response

from gateway import clients
from gateway.answers import NO_STORE, Json
from gateway.doors.community import viewers
from gateway.doors.community.envelope import ok

CHECKED_IN = "Checked in."
ALREADY = "You have checked in today already. Come back tomorrow."


async def balance(request: Request) -> Response:
    """GET /api/credits/me."""
    wanted = creditspb.GetBalanceRequest(viewer_id=await viewers.required(request))
    found = await clients.of(request).credits.GetBalance(wanted)
    return ok({"credits": found.credits, "held": found.held_credits})


async def check_in_status(request: Request) -> Response:
    """GET /api/checkin/status."""
    wanted = creditspb.GetCheckInStatusRequest(viewer_id=await viewers.required(request))
    found = await clients.of(request).credits.GetCheckInStatus(wanted)
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
    found = await clients.of(request).credits.CheckIn(wanted)
    first = found.added_credits > 0
    data = {"creditsAdded": found.added_credits, "consecutiveDays": found.streak_days}
    return Json({"success": first, "message": CHECKED_IN if first else ALREADY, "data": data}, headers=NO_STORE)
