"""docs/recipe.md is made from the recipe model, so that it cannot drift."""

import subprocess
import sys

from road import ROOT


def test_the_reference_is_what_its_script_makes():
    made = subprocess.run(
        [sys.executable, "docs/make_recipe.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == made.stdout, (
        "run `python docs/make_recipe.py > docs/recipe.md`"
    )
