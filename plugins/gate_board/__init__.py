"""The gate board: the version in Production, every decision of the gate with its reason, and the state of each AS_OF.

`app` creates the application, `routes` has its routes, `sources` reads the database, MLflow and serving through
churn.board, and `static/` is the page.
"""
