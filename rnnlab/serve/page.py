"""The web page of a server: one file without addresses of other servers."""

import base64
import hashlib
import html
import re
from importlib.resources import files
from typing import Any


def page_response(responses: Any, model: str) -> Any:
    """Returns the page for a model, with a policy that allows only what is in the file."""
    content = page(model)
    return responses.HTMLResponse(content, headers={"content-security-policy": policy(content)})


def page(model: str) -> str:
    """Returns the HTML of the page for a model.

    >>> "my-model" in page("my-model")
    True
    """
    content = files("rnnlab.serve").joinpath("page.html").read_text(encoding="utf-8")
    return content.replace("{{model}}", html.escape(model, quote=True))


def policy(content: str) -> str:
    """Returns the content security policy of a page: its own script, its own style, this server.

    >>> policy("<style>a</style><script>b</script>")[:40]
    "default-src 'none'; connect-src 'self'; "
    """
    parts = []
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(found.group(1).encode()).digest()).decode()
        parts.append(f"{tag}-src 'sha256-{digest}'")
    rest = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; connect-src 'self'; {'; '.join(parts)}; {rest}"
