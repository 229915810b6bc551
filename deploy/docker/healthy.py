#!/usr/bin/env python3
"""Whether a route answers with 200: a container's health check, for images without curl.

``healthy URL [NAME=VALUE …]`` sends the headers that follow the address; status 0 for yes, 1 for no.
"""

import sys
import urllib.error
import urllib.request

url, *headers = sys.argv[1:]
request = urllib.request.Request(url, headers=dict(header.split("=", 1) for header in headers))  # noqa: S310
try:
    with urllib.request.urlopen(request, timeout=4) as answer:  # noqa: S310
        sys.exit(answer.status != 200)
except (urllib.error.URLError, OSError) as error:
    sys.exit(f"{url}: {error}")
