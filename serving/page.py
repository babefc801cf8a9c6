"""GET /: the page for people. A browser asks this service's own API with it, and nobody else."""

from flask import Blueprint, Response, render_template

HEADERS = {
    # The page loads nothing from elsewhere and runs nothing but its own files: a text of the service that should ever
    # become markup stays without effect.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Asked for each time, and answered with 304: a page of the last release never meets a script of this one.
    "Cache-Control": "no-cache",
}

pages = Blueprint("page", __name__, template_folder="templates", static_folder="static", static_url_path="/page")


@pages.get("/")
def page() -> str:
    return render_template("page.html")


@pages.after_request
def add_headers(response: Response) -> Response:
    """Send HEADERS with the page and its files."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
