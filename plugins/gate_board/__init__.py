"""The gate board: what is in Production, every decision of the gate and why, and how fresh each AS_OF is.

`app` creates the application, `routes` has its routes, `sources` reads the database, MLflow and serving through
churn.board, and `static/` is the page.
"""
