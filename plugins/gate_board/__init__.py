"""The pages in Airflow's navigation: the gate board, and the list "At risk".

The board shows the version in Production, every decision of the gate with its reason, and the state of each AS_OF. The
list shows which customers are about to leave.

`app` creates the application; `pages`, `board_routes` and `risk_routes` have its routes. `sources` and `counted` read
the database, MLflow and serving through churn.board; `rights` decides who may see customers. `static/` is the pages.
"""
