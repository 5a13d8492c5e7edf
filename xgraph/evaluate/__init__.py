"""Evaluation: how well explanations point at what is known to matter."""

from xgraph.evaluate.localisation import inside_mass, pointing_game, ranking_auc, relevance

__all__ = ["inside_mass", "pointing_game", "ranking_auc", "relevance"]
