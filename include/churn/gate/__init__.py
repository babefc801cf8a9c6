"""The promotion gate: decides whether a candidate replaces the version in stage Production, and moves it.

rule.py is the rule, over evidence.py and thresholds.py; checks.py, rival_checks.py and leaks.py are its conditions.
grading.py gathers evidence (gathering.py), decides and records. promotion.py and rollback.py move Production; moves.py
is the history. question.py and approval.py ask for approval. decision_files.py names the artifacts of a decision.
"""
