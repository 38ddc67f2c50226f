#!/usr/bin/env python3
"""The complete integration example of the published reference with nothing but Python, against the sandbox of
`make sandbox`.
    python3 examples/integration.py
    API=http://127.0.0.1:8080 EMAIL=maria@email.com python3 examples/integration.py
An email names one customer of an account, so a second run needs another EMAIL.
"""

import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

API = os.environ.get("API", "http://127.0.0.1:8080")
EMAIL = os.environ.get("EMAIL", "juan@email.com")


def call(method, path, body, token=None):
    """What the server answers; anything but a success ends the program."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(API + path, json.dumps(body).encode(), headers, method=method)
    try:
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except HTTPError as failure:
        text = failure.read().decode(errors="replace")
        try:
            problem = json.loads(text)
            sys.exit(f"{method} {path}: {failure.code} {problem['code']}: {problem['detail']}")
        except (ValueError, KeyError, TypeError):
            sys.exit(f"{method} {path}: {failure.code}: {text}")  # not this server: a proxy, say
    except URLError as failure:
        sys.exit(f"{API}: {failure.reason}")


# 1. Login
login = call("POST", "/auth/login", {"email": "admin@company.com", "password": "secure_password"})
token = login["token"]

# 2. Create customer
customer = call("POST", "/customers", {"name": "Juan Perez", "email": EMAIL}, token)

# 3. Create virtual card
card = call("POST", "/cards", {"currency": "USD"}, token)

# 4. Assign card to customer
call("POST", "/cards/assign", {"cardId": card["cardId"], "customerId": customer["customerId"]}, token)

# 5. Add balance
call("POST", "/balances/add", {"cardId": card["cardId"], "amount": 500}, token)

# 6. Activate card
call("PATCH", "/cards/status", {"cardId": card["cardId"], "status": "active"}, token)

print("Card ready for use!")
