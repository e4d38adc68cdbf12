"""Recipes: sections as frozen values, read from TOML and checked."""

from xtrain.recipe.data import Data, Normalize
from xtrain.recipe.job import Job
from xtrain.recipe.loop import Loop
from xtrain.recipe.read import find, job_of, load_recipe, parse, shipped
from xtrain.recipe.recipe import Recipe

__all__ = ["Data", "Job", "Loop", "Normalize", "Recipe", "find", "job_of", "load_recipe", "parse", "shipped"]
