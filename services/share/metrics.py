"""The metrics of the share service."""

from prometheus_client import Counter, Gauge

DRIFT = Gauge("kawaii_share_count_drift", "By how much the counts of shares differed from the rows at the last look.")
MENDED = Counter("kawaii_share_count_mended", "By how much counts of shares were mended since the start.")
