"""The integration example through the client that openapi-generator makes for Python, with sums that 32 bits would round."""

import os
from decimal import Decimal

from openapi_client import (
    AddBalanceRequest,
    ApiClient,
    AssignCardRequest,
    AuthenticationApi,
    BalancesApi,
    ChangeCardStatusRequest,
    Configuration,
    CreateCardRequest,
    CreateCustomerConflictProblem,
    CreateCustomerRequest,
    Currency,
    CustomersApi,
    LoginRequest,
    MovementKind,
    TransactionsApi,
    VirtualCardsApi,
)
from openapi_client.exceptions import ConflictException, NotFoundException

STEPS = [
    (1234567.89, "1234567.89"),
    (0.07, "1234567.96"),
    (3000000000, "3001234567.96"),
    (12345678901234.56, "12348680135802.52"),
]


def expect(value, wanted):
    if value != wanted:
        raise SystemExit(f"expected {wanted!r}, got {value!r}")


def failure(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        return error
    raise SystemExit("the call succeeded")


def decimal(number):
    return Decimal(str(number))


email = os.environ["EMAIL"]
configuration = Configuration(host=os.environ["API"])
client = ApiClient(configuration)
configuration.access_token = (
    AuthenticationApi(client).login(LoginRequest(email="admin@company.com", password="secure_password")).token
)
customers, cards, balances = CustomersApi(client), VirtualCardsApi(client), BalancesApi(client)

person = CreateCustomerRequest(name="Juan Perez", email=email)
customer = customers.create_customer(person, idempotency_key=f"{email}-customer")
card = cards.create_card(CreateCardRequest(currency=Currency.USD)).card_id
cards.assign_card(AssignCardRequest(card_id=card, customer_id=customer.customer_id))
cards.change_card_status(ChangeCardStatusRequest(card_id=card, status="active"))

for amount, balance in STEPS:
    added = balances.add_balance(AddBalanceRequest(card_id=card, amount=amount))
    expect(decimal(added.balance), Decimal(balance))
movements = TransactionsApi(client).list_movements(card, type=MovementKind.TOP_UP, var_from="2025-02-10").movements
expect(
    [(decimal(each.amount), decimal(each.balance_after)) for each in reversed(movements)],
    [(decimal(amount), Decimal(balance)) for amount, balance in STEPS],
)
expect({each.var_date.utcoffset().total_seconds() for each in movements}, {0})

# Failures are told apart by `code`.
taken = failure(ConflictException, customers.create_customer, person)
expect(type(taken.data), CreateCustomerConflictProblem)
expect((taken.data.code, taken.data.status), ("duplicate_email", 409))
# An id in another form names nothing. The client has to send it to learn that.
expect(failure(NotFoundException, cards.get_card, "card_001").status, 404)
print("Card ready for use!")
