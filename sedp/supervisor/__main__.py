"""`python -m sedp.supervisor`: a worker; started by a supervisor and by nobody else.

Callers may be waiting for this process. Without the collector, which finds nothing to collect
among what is imported, it starts a tenth sooner; the worker turns it on when it serves.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()
    from sedp.supervisor.worker import main

    main()
