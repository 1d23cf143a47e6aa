"""A run whose bundle is signed stays so: no verb that lacks the setting makes an unsigned bundle of it."""

from __future__ import annotations

import contextlib

from edgedistill.config.recipe import Recipe
from edgedistill.errors import RunFolderError
from edgedistill.pipeline.run_folder import RunFolder

KEY = "deploy.sign_key"


def with_kept_signing(recipe: Recipe, run: RunFolder) -> Recipe:
    """The recipe with the key that signed the run's bundle, where the recipe names none.

    `deploy.sign_key = ""` says that a bundle shall be unsigned; such a recipe is given back without a key.
    """
    key = recipe.deploy.sign_key
    if key is None:
        with contextlib.suppress(RunFolderError):  # no bundle, or one that is made again
            key = run.stamp("bundle").inputs.get("recipe", {}).get(KEY)
    deploy = recipe.deploy.model_copy(update={"sign_key": key or None})
    return recipe.model_copy(update={"deploy": deploy})
