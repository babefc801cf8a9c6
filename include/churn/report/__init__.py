"""The report on a decision: pictures, and the model card, one page that a candidate's run keeps (model_card.py)."""
