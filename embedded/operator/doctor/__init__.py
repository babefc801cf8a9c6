"""`make doctor`: the checks that a person on call makes first, each with advice.

A check gathers facts and judges them with a function that needs no stack. If the stack or Postgres is down, one finding
says so, and the checks that do not need it still run.
"""
