"""One idempotent side effect each; retries, tags and time limits live here."""
