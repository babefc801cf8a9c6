"""`make doctor`: what a person on call would look at first, looked at in seconds, and what to do about each.

A check gathers facts and judges them, the latter by a function that needs no stack. What cannot be asked, because the
stack or Postgres is down, is said to be so once; the rest is checked all the same.
"""
