"""The promotion gate: whether a candidate replaces the version in stage Production, and carrying that out.

rule.py is the rule, over evidence.py and thresholds.py; checks.py, rival_checks.py and leaks.py are its conditions.
grading.py gathers (gathering.py), decides and records; promotion.py and rollback.py move Production, moves.py is their
history; question.py and approval.py ask a person; decision_files.py is where a run keeps what belongs to a decision.
"""
