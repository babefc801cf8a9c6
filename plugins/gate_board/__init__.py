"""The gate board: what is in Production, every decision of the gate and why, and how fresh each AS_OF is.

`app` makes the application, `routes` answers, `sources` knows where database, MLflow and serving are, `static/` is the
page. What is shown is read by churn.board.history and churn.board.production.
"""
