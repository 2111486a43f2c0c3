"""mitmproxy as its users set it up: a script that refuses attachments. Other bodies stream, as they do elsewhere."""

from mitmproxy import http


def responseheaders(flow: http.HTTPFlow) -> None:
    disposition = flow.response.headers.get("content-disposition", "")
    # Of what is not streamed the body is collected, and `response` is called.
    flow.response.stream = not disposition.lower().startswith("attachment")


def response(flow: http.HTTPFlow) -> None:
    if not flow.response.stream:
        flow.response = http.Response.make(403, b"Download blocked.")
