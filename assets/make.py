"""The README's picture: a screenshot of the last quickstart's report, by headless Chromium.

make assets, which is: python assets/make.py runs/quickstart/report/report.html
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1000,1150",
)


def main() -> int:
    page = Path(sys.argv[1]).resolve()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not page.exists():
        missing = page if chromium else "chromium"
        print(
            f"assets/make.py: {missing} is missing; run `make quickstart`, install chromium",
            file=sys.stderr,
        )
        return 1
    picture = Path(__file__).parent / "report.png"
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [chromium, *FLAGS, f"--user-data-dir={profile}", f"--screenshot={picture}", page.as_uri()],
            check=True,
            capture_output=True,
        )
    print(picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
