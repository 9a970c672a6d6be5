"""Penalties on weights and outputs, with strengths that can be assigned or follow schedules."""

from kopt.regularizers.entropy import EntropyPenalty
from kopt.regularizers.group_lasso import GroupLasso
from kopt.regularizers.norms import L1, L1L2, L2
from kopt.regularizers.orthogonal import SRIP, SoftOrthogonal
from kopt.regularizers.regularize import regularize, unregularize
from kopt.regularizers.spectral import SpectralPenalty

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "SRIP",
    "EntropyPenalty",
    "GroupLasso",
    "SoftOrthogonal",
    "SpectralPenalty",
    "regularize",
    "unregularize",
]
