"""Workflows made by the recipes of the wfcommons package (LGPL-3.0), which imitate recorded ones."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.extras import require
from dispatchgym.instances.workflow.formats import PARSERS
from dispatchgym.instances.workflow.instance import WorkflowInstance


def from_recipe(name: str, tasks: int, seed: int, **options: Any) -> WorkflowInstance:
    """A workflow of about ``tasks`` tasks by a recipe, such as "blast" or "montage"; the 1.6 release falls short by 2 to 5.

    ``options`` are those of :func:`parse_wfcommons`. Recipes draw from the global generators of Python and NumPy, whose
    states are restored, and results depend on the package's version: for training only. Raises MissingExtraError without
    the package, UnknownNameError for another recipe, InstanceError for fewer tasks than the recipe can make or for a
    result in several pieces ("genome", "rnaseq") without ``disconnected=True``.
    """
    package = require("wfcommons", "workflows", "from_recipe")
    recipes = require("wfcommons.wfchef.recipes", "workflows", "from_recipe")
    known = {key.removesuffix("Recipe").lower(): key for key in dir(recipes) if key.endswith("Recipe")}
    if name not in known:
        raise UnknownNameError("recipe", name, known)
    source = f"recipe {name!r} with {tasks} tasks"
    kept = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        recipe = getattr(recipes, known[name]).from_num_tasks(tasks)
        made = package.WorkflowGenerator(recipe).build_workflow()
    except ValueError as error:
        raise InstanceError(f"{source}: {error}; ask for more tasks") from None
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "workflow.json"
        made.write_json(file)
        return PARSERS["wfcommons"](file.read_text(encoding="utf-8"), source, **options)
