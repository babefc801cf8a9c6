"""GET /: the web page, a client of this service's own API."""

from flask import Blueprint, Response, render_template

HEADERS = {
    # The page loads and runs only its own files, so injected markup has no effect.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Revalidated on each load, so that a cached page never runs with scripts of another release.
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
