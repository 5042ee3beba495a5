"""What an answer or an error of a source might repeat and must not.

Findings are signed, stored in the ledger and shown to everybody who may read it. A library may put a
token or a URL with its password into the message of an error; so whatever a source says is searched for
the secrets that it was asked with, and for what the environment names like one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from golive_redis.masking import passwords_in, secrets_in

# Shorter ones are words of any sentence, and no secrets; where only the name of a variable says that
# it may be one, `true` and `6379` are more likely.
_MIN_SECRET = 4
_MIN_GUESSED = 8
_SECRET_NAME = re.compile(
    r"PASS|TOKEN|SECRET|KEY|CREDENTIAL|DSN|_URL|AUTH|(?:_|\b)PW(?:_|\b)", re.IGNORECASE
)


def secrets_of(source: Any, environ: Mapping[str, str]) -> list[str]:
    """Return what an answer or an error might repeat and must not; the longest first."""
    found: set[str] = set()
    for name in ("bearer_env", "url_env"):
        if variable := getattr(source, name, None):
            found.add(environ.get(variable, ""))
    for url in [*found, getattr(source, "url", None) or ""]:
        found |= secrets_in(url)
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_GUESSED:
            # Not the words behind `?` of any URL: `sslmode=disable` is no secret.
            found |= {value, *passwords_in(value)}
    return sorted((item for item in found if len(item) >= _MIN_SECRET), key=len, reverse=True)
