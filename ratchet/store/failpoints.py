"""Places at which a test kills the process, as a power cut would.

``RATCHET_FAILPOINT=name`` kills the process with SIGKILL at the failpoint of that name. Without the variable,
``failpoint`` does nothing.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("RATCHET_FAILPOINT", "")

if _ARMED:

    def failpoint(name: str) -> None:
        """Kill the process, if this is the armed failpoint."""
        if name == _ARMED:
            os.kill(os.getpid(), signal.SIGKILL)

else:

    def failpoint(name: str) -> None:
        """Do nothing: no failpoint is armed."""
