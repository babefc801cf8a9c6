"""Outcomes: was the list right? Scores held against the labels that come later."""
