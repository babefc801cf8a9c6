"""The pages in Airflow's navigation: the gate board, the list "At risk", and "Health".

The board shows the version in Production, every decision of the gate with its reason, and the state of each AS_OF. The
list shows which customers are about to leave. "Health" shows whether the lists were right.

`app` creates the application; `pages` and the modules `…_routes` have its routes. `sources` and `counted` read the
database, MLflow and serving through churn.board; `rights` decides who may see customers. `static/` is the pages.
"""
