"""Places where a test can have the process die, as a power cut would: nothing where no test asks.

``RATCHET_FAILPOINT=name`` kills the process with SIGKILL when it comes by that name. Unset, which is how it is
everywhere outside the tests, ``failpoint`` is a function that does nothing.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("RATCHET_FAILPOINT", "")

if _ARMED:

    def failpoint(name: str) -> None:
        """Die here, if this is the place that was asked for."""
        if name == _ARMED:
            os.kill(os.getpid(), signal.SIGKILL)

else:

    def failpoint(name: str) -> None:
        """Nothing: no failpoint is set."""
