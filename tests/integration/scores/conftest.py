from tests.integration.scored_chain import real, scored, small, two_months

__all__ = ["real", "scored", "small", "two_months"]
