"""A fitted pipeline as plain arrays: the same probabilities, without pandas and scikit-learn on the way to them."""
