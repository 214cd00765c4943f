"""Where the tests that choose at random begin.

`TRUST_SEED` repeats a run. Without it every run is another one, except where `CI` is set, which there makes Hypothesis
choose the same cases each time, too: the verdict on a commit does not change from run to run.
"""

import os
import secrets

SEED = os.environ.get("TRUST_SEED") or ("20261125" if "CI" in os.environ else str(secrets.randbits(32)))
