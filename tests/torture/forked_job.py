"""The command line with the faults, limits and constants that $FORKED_JOB says: `python -m forked_job WORDS`."""

import json
import os
import resource
import sys
import warnings
from pathlib import Path

from edgedistill.cli.main import main as command_line
from faults import Faults


def main():
    job = json.loads(os.environ.pop("FORKED_JOB"))
    warnings.simplefilter("ignore")
    if "faults" in job:
        events, faults = os.open(job["events"], os.O_WRONLY), Faults(**job["faults"])
        faults.install()
    for name, value in job.get("limits", {}).items():
        if name == "RLIMIT_AS":  # given as bytes above what the imports have mapped
            mapped = Path("/proc/self/statm").read_text().split()[0]
            value += int(mapped) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (value, value))
    for name, value in job.get("constants", {}).items():
        module, _, constant = name.rpartition(".")
        setattr(sys.modules[module], constant, value)
    try:
        return command_line(sys.argv[1:])
    finally:
        if "faults" in job:
            os.write(events, str(faults.count).encode())


if __name__ == "__main__":
    sys.exit(main())
