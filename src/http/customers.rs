//! Customers: `POST /customers`, `GET /customers`, `GET /customers/{customerId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Filter, Operation, Tag},
    page::{Cursor, Page},
    query::Query,
};
use crate::domain::{
    error::Refusal,
    id::CustomerId,
    text::{Email, Name},
};
use crate::service::customers::Customer;

pub(super) struct NewCustomer {
    name: Name,
    email: Email,
}

impl FromFields for NewCustomer {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (name, email) = (fields.text("name"), fields.text("email"));
        Some(Self { name: name?, email: email? })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Customer")]
pub(super) struct CustomerBody {
    customer_id: CustomerId,
    name: String,
    email: String,
}

impl CustomerBody {
    fn of(customer: &Customer) -> Self {
        Self { customer_id: customer.id, name: customer.name.clone(), email: customer.email.clone() }
    }
}

/// `POST /customers`
pub(super) const CREATE: Operation = Operation::new("createCustomer", Tag::Customers, "Create Customer")
    .about("Create a basic customer profile. Store the `customerId`: you need it to assign cards. Two customers of an account cannot have the same email, regardless of case.")
    .request(r#"{"name": "Juan Perez", "email": "juan@email.com"}"#)
    .response::<CustomerBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com"}"#)
    .refusals(&[Code::DuplicateEmail]);

/// `POST /customers`
pub(super) async fn create(State(app): State<App>, Writer(caller): Writer, command: Command<NewCustomer>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, CustomerBody::of);
    let NewCustomer { name, email } = command.body;
    let outcome = app.services.customers.create(&caller.actor(), &name, &email, idempotent.as_ref()).await?;
    Ok(respond(outcome, CustomerBody::of))
}

/// `GET /customers/{customerId}`
pub(super) const GET: Operation = Operation::new("getCustomer", Tag::Customers, "Get Customer")
    .about("Retrieve one customer.")
    .response::<CustomerBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com"}"#)
    .refusals(&[Code::CustomerNotFound]);

/// `GET /customers/{customerId}`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    _: NoQuery,
    PathId(id): PathId<CustomerId>,
) -> Result<JsonBody<CustomerBody>> {
    let id = id.map_err(|_| Refusal::CustomerNotFound)?;
    let customer = app.services.customers.get(caller.account, id).await?;
    Ok(JsonBody(CustomerBody::of(&customer)))
}

/// `GET /customers`
pub(super) const LIST: Operation = Operation::new("listCustomers", Tag::Customers, "List Customers")
    .about("Retrieve all customers in your account, oldest first, or the one with a given email.")
    .filters(&[Filter::new::<Email>("email", "Only the customer with this email, regardless of case.")])
    .list::<CustomerBody>(
        "customers",
        r#"{"customers": [
            {"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com"},
            {"customerId": "cus_01h455vb4pex5vsknk084sn02r", "name": "Maria Garcia", "email": "maria@email.com"}
        ]}"#,
    );

/// The canonical query string of the filter.
fn canonical(email: Option<&Email>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(email.map(|email| ("email", email.key())));
    text.finish()
}

/// `GET /customers`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let mut email = query.email("email");
    if email.is_none()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters("customers"))
    {
        email = Query::parse(carried).email("email");
    }
    let page = Page::read(&mut query, cursor.as_ref(), "customers", &canonical(email.as_ref()));
    query.done()?;
    let customers = app.services.customers.clone();
    page.respond(
        "customers",
        move |after, limit| {
            let (customers, email) = (customers.clone(), email.clone());
            async move { customers.page(caller.account, email.as_ref(), after.unwrap_or(0), limit).await }
        },
        |customer: &Customer| (customer.number, CustomerBody::of(customer)),
    )
    .await
}
