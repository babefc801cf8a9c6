"""A synthetic StreamFlow: customers who join, change and leave, and their drops.

Only churn.synthetic.generate writes files. A seed fixes every value exactly, as long as numpy keeps its random streams:
values are binned or rounded, so that they do not depend on the machine's floating point.
"""
