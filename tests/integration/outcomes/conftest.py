from tests.integration.scored_chain import real

__all__ = ["real"]
