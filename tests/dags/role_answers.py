"""Sets up Airflow like containers/airflow/init.py, and prints its API's answers to each role as JSON.

The format is {role: {request: status}}; `menu` and `plugins` are the entries of the navigation.
"""

import json
import os
import sys

from airflow.api_fastapi.app import create_app, get_auth_manager
from fastapi.testclient import TestClient

from containers.airflow.init import set_up_airflow

ROLES = ("Viewer", "User", "Op", "Admin")
OF_A_TASK = "/api/v2/dags/a/dagRuns/b/taskInstances/c"
QUESTIONS = {
    "see dags": ("GET", "/api/v2/dags"),
    "see runs": ("GET", "/api/v2/dags/~/dagRuns"),
    "see logs": ("GET", f"{OF_A_TASK}/logs/1"),
    "see XComs": ("GET", f"{OF_A_TASK}/xcomEntries"),
    "see pools": ("GET", "/api/v2/pools"),
    "trigger": ("POST", "/api/v2/dags/a/dagRuns"),
    "clear": ("POST", "/api/v2/dags/a/clearTaskInstances"),
    "pause": ("PATCH", "/api/v2/dags/a"),
    "delete": ("DELETE", "/api/v2/dags/a"),
    "answer": ("PATCH", f"{OF_A_TASK}/-1/hitlDetails"),
    "backfill": ("POST", "/api/v2/backfills"),
    "connections": ("GET", "/api/v2/connections"),
    "variables": ("GET", "/api/v2/variables"),
    "make pools": ("POST", "/api/v2/pools"),
    "write XComs": ("POST", f"{OF_A_TASK}/xcomEntries"),
    "configuration": ("GET", "/api/v2/config"),
    "audit log": ("GET", "/api/v2/eventLogs"),
    "users": ("GET", "/auth/fab/v1/users"),
    "see the health of the model": ("GET", "/gate-board/api/health"),
    "see the figures of a list": ("GET", "/gate-board/api/scores/2024-01-31/1"),
    "see customers": ("GET", "/gate-board/api/scores/2024-01-31/1/customers"),
    "download customers": ("GET", "/gate-board/api/scores/2024-01-31/1/contacts.csv?depth=10"),
}


def main() -> None:
    set_up_airflow("of the administrator")
    # What the API server has, and airflow-init not.
    os.environ |= {"AIRFLOW__API_AUTH__JWT_SECRET": "of this test" * 6, "AIRFLOW__API__SECRET_KEY": "of this test"}
    app, answers = create_app(apps="core"), {}
    manager = get_auth_manager()
    with TestClient(app, raise_server_exceptions=False) as client:
        for role in ROLES:
            with manager.flask_app.app_context():
                security = manager.security_manager
                user = security.add_user(
                    f"of {role}", role, role, f"of-{role}@localhost", security.find_role(role), "password"
                )
                headers = {"Authorization": f"Bearer {manager.generate_jwt(user)}"}
            answers[role] = {
                "menu": client.get("/ui/auth/menus", headers=headers).json()["authorized_menu_items"],
                "plugins": [
                    view["name"]
                    for plugin in client.get("/api/v2/plugins", headers=headers).json().get("plugins", [])
                    for view in plugin["external_views"]
                ],
            } | {
                name: client.request(method, path, headers=headers, json={}).status_code
                for name, (method, path) in QUESTIONS.items()
            }
        answers["Public"] = {
            name: client.request(method, path, json={}).status_code for name, (method, path) in QUESTIONS.items()
        }
    sys.stdout.write(f"\n{json.dumps(answers)}\n")


if __name__ == "__main__":
    main()
