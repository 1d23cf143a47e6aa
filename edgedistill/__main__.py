import os
import sys

from edgedistill.cli.main import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # A worker of torchrun: PyTorch's threads of the group may want the interpreter while it ends,
    # which aborts a process that has finished (seen in CI: SIGABRT after the last stage's rename).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
raise SystemExit(code)
