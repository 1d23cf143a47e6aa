"""Print docs/recipe.md from the recipe model: python docs/make_recipe.py > docs/recipe.md"""

import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgedistill.config.recipe import Recipe


def main() -> None:
    print("# Recipe keys\n")
    print("Made by `python docs/make_recipe.py > docs/recipe.md`; do not edit.")
    print("Relative paths are relative to the recipe file. `--set section.key=value` overrides.")
    for section, field in Recipe.model_fields.items():
        model = field.annotation
        print(f"\n## [{section}]\n\n{model.__doc__.splitlines()[0]}\n")
        print("| key | default | meaning |\n|---|---|---|")
        for key, info in model.model_fields.items():
            default = "required" if info.is_required() else f"`{info.default!r}`".replace("|", "\\|")
            choices = [repr(choice) for choice in get_args(info.annotation) if isinstance(choice, str)]
            meaning = (info.description or "").replace("\n", " ")
            if choices:
                meaning += f" ({', '.join(choices)})"
            print(f"| `{section}.{key}` | {default} | {meaning} |")


if __name__ == "__main__":
    main()
