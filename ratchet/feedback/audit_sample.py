"""The audit sample: a random share of predictions for which a label is always asked.

Whether a prediction belongs to it follows from its id alone, so that every worker and every later reader agree. A
larger share contains a smaller one.
"""

from __future__ import annotations

import hashlib

# Domain separation: the result must not depend on other uses of a hash of the id.
_PURPOSE = b"ratchet.audit"
_BYTES = 8


def is_audited(prediction_id: str, share: float | None) -> bool:
    """Return whether a prediction belongs to the audit sample of a share from 0 to 1; None is no sample."""
    if not share:
        return False
    digest = hashlib.blake2b(prediction_id.encode(), digest_size=_BYTES, person=_PURPOSE).digest()
    return bool(int.from_bytes(digest) < share * 256**_BYTES)
