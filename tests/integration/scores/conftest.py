from tests.integration.scored_chain import real, small

__all__ = ["real", "small"]
