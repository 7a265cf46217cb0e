"""The metrics of requests, by route and never by path: paths hold ids and tokens, and there is no end of them."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter("http_requests_total", "Requests that ended.", ("route", "method", "status"))
SECONDS = Histogram("http_request_seconds", "How long requests took, until the last byte.", ("route", "method"))
