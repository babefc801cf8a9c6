"""A synthetic StreamFlow: customers who join, wander, stay or leave, and the drops that would report them.

Nothing here reads or writes a file; churn.synthetic.generate does. A seed fixes every value to the last digit, as long
as numpy keeps its random streams: values are cut at constants or rounded, so that none hangs on a machine's
last bit.
"""
