#!/usr/bin/env python3
"""A card's payment from authorisation to refund with nothing but Python, against the sandbox of `make sandbox`.
    python3 examples/payment.py
    API=http://127.0.0.1:8080 python3 examples/payment.py
The admin makes the card and an API key of the role network. The processor's gateway, which has only that key, makes the
card pay.
"""

import json
import os
import sys
import uuid
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

API = os.environ.get("API", "http://127.0.0.1:8080")


def call(method, path, body=None, token=None):
    """What the server answers; anything but a success ends the program."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if method == "POST" and not path.startswith("/auth/"):
        # A gateway makes it from the network's message, so that the message's repetition has the same key.
        headers["Idempotency-Key"] = str(uuid.uuid4())
    request = Request(API + path, None if body is None else json.dumps(body).encode(), headers, method=method)
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


def show(what, answer):
    """Prints a step and what it left of the card's money."""
    money = answer["balance"]
    print(f"{what}: balance {money['balance']}, held {money['held']}, available {money['available']}")


# 1. The admin makes an active card with a balance of 500
admin = call("POST", "/auth/login", {"email": "admin@company.com", "password": "secure_password"})["token"]
card = call("POST", "/cards", {"currency": "USD"}, admin)["cardId"]
call("POST", "/balances/add", {"cardId": card, "amount": 500}, admin)
call("PATCH", "/cards/status", {"cardId": card, "status": "active"}, admin)

# 2. The admin makes a key for the gateway. It is shown only now
key = call("POST", "/api-keys", {"name": "payment example", "role": "network"}, admin)
network = key["key"]

# 3. A merchant asks whether the card can pay 100. The money is held
hotel = {"id": "445291006", "name": "HOTEL MIRADOR", "mcc": "7011", "city": "Bogota", "country": "CO"}
answer = call("POST", "/network/authorizations", {"cardId": card, "amount": 100, "merchant": hotel}, network)
authorization = answer["authorization"]["id"]
show(f"Authorised 100, {answer['authorization']['status']}", answer)

# 4. The bill may be higher: hold 50 more
answer = call("POST", f"/network/authorizations/{authorization}/increments", {"amount": 50}, network)
show("Incremented by 50", answer)

# 5. The merchant takes 120. The capture is final, so the rest is released
answer = call("POST", f"/network/authorizations/{authorization}/captures", {"amount": 120}, network)
show(f"Captured 120, {answer['authorization']['status']}", answer)

# 6. Too much is declined: an answer with the reason and the numbers, not an error
answer = call("POST", "/network/authorizations", {"cardId": card, "amount": 1000}, network)
show(f"Asked for 1000, {answer['authorization']['status']} with {answer['authorization']['decline']['code']}", answer)

# 7. The merchant gives 20 back
refund = {"cardId": card, "amount": 20, "description": "Minibar corrected", "authorizationId": authorization}
answer = call("POST", "/network/refunds", refund, network)
show("Refunded 20", answer)

# 8. The card's movements are what was posted, newest first
for movement in call("GET", f"/cards/{card}/movements", token=admin)["movements"]:
    print(f"{movement['type']} {movement['amount']}, {movement['description']}: balance {movement['balanceAfter']}")

# 9. The key is no longer needed: from now on every replica refuses it
call("DELETE", f"/api-keys/{key['apiKeyId']}", token=admin)
