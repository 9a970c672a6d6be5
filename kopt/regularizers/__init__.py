"""Penalties on weights and outputs, and what puts them, dropout and whole recipes into a model that is there."""

from kopt.regularizers.apply_recipe import AppliedRecipe, apply_recipe
from kopt.regularizers.entropy import EntropyPenalty
from kopt.regularizers.group_lasso import GroupLasso
from kopt.regularizers.norms import L1, L1L2, L2
from kopt.regularizers.orthogonal import SRIP, SoftOrthogonal
from kopt.regularizers.recipe import Recipe
from kopt.regularizers.recipes import RECIPES
from kopt.regularizers.regularize import regularize, unregularize
from kopt.regularizers.report import RegularizationReport, regularization_report
from kopt.regularizers.spectral import SpectralPenalty
from kopt.regularizers.wishes import KEEP

__all__ = [
    "KEEP",
    "L1",
    "L1L2",
    "L2",
    "RECIPES",
    "SRIP",
    "AppliedRecipe",
    "EntropyPenalty",
    "GroupLasso",
    "Recipe",
    "RegularizationReport",
    "SoftOrthogonal",
    "SpectralPenalty",
    "apply_recipe",
    "regularization_report",
    "regularize",
    "unregularize",
]
