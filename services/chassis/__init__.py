"""What every service is built on: settings, errors, logs, servers, channels, databases, caches. Knows no domain."""
