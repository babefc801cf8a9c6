"""GET /docs: Swagger UI for /openapi.json, with the assets of the package flask-openapi3-swagger.

The package's own page has another address.
"""

from importlib.resources import files

from flask import Blueprint, Response, render_template

_ASSETS = files("flask_openapi3_swagger") / "templates" / "swagger"

pages = Blueprint(
    "docs", __name__, template_folder="templates", static_folder=str(_ASSETS), static_url_path="/docs/assets"
)


@pages.get("/docs")
def docs() -> str:
    return render_template("docs.html")


@pages.after_request
def add_headers(response: Response) -> Response:
    """Allow Swagger UI's own scripts and requests to this service. It needs inline styles."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
