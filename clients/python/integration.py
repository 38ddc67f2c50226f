"""The complete integration example of the published reference through a generated client, against a running sandbox:

    python3 -m venv build/venv && . build/venv/bin/activate && pip install -r requirements.txt
    openapi-python-client generate --path ../../openapi.json --meta none --output-path build/core_api_client
    API=http://127.0.0.1:8080 EMAIL=maria@email.com PYTHONPATH=build python integration.py
"""

import os
from uuid import uuid4

from core_api_client import AuthenticatedClient, Client
from core_api_client.api.authentication import login
from core_api_client.api.balances import add_balance
from core_api_client.api.customers import create_customer
from core_api_client.api.transactions import list_movements
from core_api_client.api.virtual_cards import assign_card, change_card_status, create_card, get_card
from core_api_client.models import (
    AddBalanceRequest,
    Added,
    AssignCardRequest,
    AssignedCard,
    Card,
    CardStatus,
    ChangeCardStatusRequest,
    ChangeCardStatusRequestStatus,
    ChangedCard,
    Code,
    CreateCardRequest,
    CreateCustomerRequest,
    CreatedCard,
    Currency,
    Customer,
    Login,
    LoginRequest,
    MovementKind,
    MovementList,
    Problem,
)

API = os.environ.get("API", "http://127.0.0.1:8080")
EMAIL = os.environ.get("EMAIL", "juan@email.com")


def done(answer, kind):
    """The answer of a request that succeeded; any other ends the program in the server's words."""
    if isinstance(answer, Problem):
        raise SystemExit(f"{answer.status} {answer.code}: {answer.detail}")
    expect(type(answer), kind)
    return answer


def once():
    """Under a name of its own a request that was sent twice is done once."""
    return str(uuid4())


def expect(value, wanted):
    if value != wanted:
        raise SystemExit(f"expected {wanted!r}, got {value!r}")


# 1. Login
stranger = Client(API, raise_on_unexpected_status=True)
session = done(login.sync(client=stranger, body=LoginRequest("admin@company.com", "secure_password")), Login)
client = AuthenticatedClient(API, session.token, raise_on_unexpected_status=True)

# 2. Create customer
person = CreateCustomerRequest(name="Juan Perez", email=EMAIL)
customer = done(create_customer.sync(client=client, body=person, idempotency_key=once()), Customer)

# 3. Create virtual card
usd = CreateCardRequest(Currency.USD)
created = done(create_card.sync(client=client, body=usd, idempotency_key=once()), CreatedCard)
card_id = created.card_id
expect(created.status, CardStatus.INACTIVE)

# 4. Assign card to customer
link = AssignCardRequest(card_id=card_id, customer_id=customer.customer_id)
done(assign_card.sync(client=client, body=link, idempotency_key=once()), AssignedCard)

# 5. Add balance
funds = AddBalanceRequest(card_id=card_id, amount=500)
added = done(add_balance.sync(client=client, body=funds, idempotency_key=once()), Added)
expect(added.balance, 500)

# 6. Activate card
active = ChangeCardStatusRequest(card_id=card_id, status=ChangeCardStatusRequestStatus.ACTIVE)
done(change_card_status.sync(client=client, body=active, idempotency_key=once()), ChangedCard)

# What became of it
card = done(get_card.sync(card_id, client=client), Card)
expect((card.balance, card.status, card.currency), (500, CardStatus.ACTIVE, Currency.USD))
expect(card.customer_id, customer.customer_id)

top_ups = list_movements.sync(card_id, client=client, type_=MovementKind.TOP_UP)
movements = done(top_ups, MovementList).movements
expect([(one.id, one.amount, one.balance_after) for one in movements], [(added.movement_id, 500, 500)])
expect(movements[0].date.utcoffset().total_seconds(), 0)

# Failures are told apart by `code`
again = create_customer.sync_detailed(client=client, body=person, idempotency_key=once())
expect(type(again.parsed), Problem)
expect((again.parsed.code, again.status_code), (Code.DUPLICATE_EMAIL, 409))

print("Card ready for use!")
