"""Who may call whom."""

PROCESSES = ("gateway", "generation", "storage", "share", "community", "envoy", "operator")
