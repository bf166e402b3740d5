"""The promo-rank example: real data, a model trained on it, and a store filled for serving it."""
