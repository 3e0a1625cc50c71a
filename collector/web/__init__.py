"""Health, readiness and metrics over HTTP. Serves no evidence."""
