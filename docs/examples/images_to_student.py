"""From a folder of images to a distilled student: look, write a recipe, run it, say what came out.

python images_to_student.py IMAGES RECIPE.toml
"""

import sys

import edgedistill


def main(images: str, recipe: str, **sections) -> dict:
    """`sections` go on top of the recipe, like `student={"model": "squeezenet1_1"}`."""
    found = edgedistill.new(images, recipe)
    print(f"{found['images']} images of {len(found['counts'])} classes")
    report = edgedistill.run(recipe, **sections)
    for name in ("teacher", "baseline", "student"):
        print(f"{name:<8} {report.values[name]['top1_fraction']:.1%} top-1")
    print(f"the student keeps {report.values['retention_fraction']:.0%} of its teacher")
    print(f"the page: {report.folder / 'report.html'}")
    return report.values


if __name__ == "__main__":
    main(*sys.argv[1:])
