"""Short names for what a result depends on."""

import hashlib
import json


def content_digest(content: object) -> str:
    """Return 12 hex digits that name a JSON-like content."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
