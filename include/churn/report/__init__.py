"""The report on a decision: pictures and the model card, logged to the candidate's run (model_card.py)."""
