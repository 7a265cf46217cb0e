"""The JSON response, rendered by orjson: three times faster than the standard library on our hot routes."""

import orjson
from starlette.responses import Response

NO_STORE = {"Cache-Control": "no-store"}


class Json(Response):
    """A body of JSON."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the content."""
        return orjson.dumps(content)
