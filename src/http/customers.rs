//! Customers: `POST /customers`, `GET /customers`, `GET` and `PATCH /customers/{customerId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    App,
    authorization_body::stored,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{Manager, NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields},
    openapi::{Filter, Operation, Tag, payment_schema::MetadataSchema},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::domain::{
    customer::{CustomerPatch, NewCustomer},
    error::Refusal,
    id::CustomerId,
    search::Search,
    text::{Email, ExternalId},
};
use crate::service::customers::{Customer, CustomerFilter};

impl FromFields for NewCustomer {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (name, email) = (fields.text("name"), fields.text("email"));
        let metadata = fields.optional("metadata", Fields::metadata);
        let external_id = fields.optional("externalId", Fields::text);
        Some(Self { name: name?, email: email?, metadata, external_id })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Customer")]
pub(super) struct CustomerBody {
    customer_id: CustomerId,
    /// Null once the person is erased.
    name: Option<String>,
    /// Null once the person is erased.
    email: Option<String>,
    /// Your own name for the customer.
    external_id: Option<String>,
    #[schemars(with = "MetadataSchema")]
    metadata: Option<Box<RawValue>>,
    /// When the person was erased.
    erased_at: Option<Timestamp>,
}

impl CustomerBody {
    fn of(customer: &Customer) -> Self {
        Self {
            customer_id: customer.id,
            name: customer.erased_at.is_none().then(|| customer.name.clone()),
            email: customer.erased_at.is_none().then(|| customer.email.clone()),
            external_id: customer.external_id.clone(),
            metadata: stored(customer.metadata.as_deref().unwrap_or("{}")),
            erased_at: customer.erased_at.map(Timestamp),
        }
    }
}

/// `POST /customers`
pub(super) const CREATE: Operation = Operation::new("createCustomer", Tag::Customers, "Create Customer")
    .about("Create a basic customer profile. Store the `customerId`: you need it to assign cards. Two customers of an account cannot have the same email, regardless of case, nor the same `externalId`. `metadata` is yours: up to 20 strings that the service keeps and shows.")
    .request(r#"{"name": "Juan Perez", "email": "juan@email.com"}"#)
    .response::<CustomerBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com", "externalId": null, "metadata": {}, "erasedAt": null}"#)
    .refusals(&[Code::DuplicateEmail, Code::DuplicateExternalId]);

/// `POST /customers`
pub(super) async fn create(State(app): State<App>, Writer(caller): Writer, command: Command<NewCustomer>) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, CustomerBody::of);
    let outcome = app.services.customers.create(&caller.actor(), &command.body, idempotent.as_ref()).await?;
    Ok(respond(outcome, CustomerBody::of))
}

/// `GET /customers/{customerId}`
pub(super) const GET: Operation = Operation::new("getCustomer", Tag::Customers, "Get Customer")
    .about("Retrieve one customer.")
    .response::<CustomerBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com", "externalId": null, "metadata": {}, "erasedAt": null}"#)
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

pub(super) struct ChangeRequest(CustomerPatch);

impl FromFields for ChangeRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(CustomerPatch {
            name: fields.optional("name", Fields::text),
            email: fields.optional("email", Fields::text),
            metadata: fields.optional("metadata", Fields::metadata_patch),
            external_id: fields.removable("externalId", Fields::text),
        }))
    }
}

/// `PATCH /customers/{customerId}`
pub(super) const CHANGE: Operation = Operation::new("changeCustomer", Tag::Customers, "Change Customer")
    .about("Change what you keep of a customer. Members that are left out stay. `metadata` is changed member by member: one that is null goes, and the others stay. Null takes `externalId` away.")
    .request(r#"{"email": "juan.perez@email.com", "metadata": {"segment": "gold"}}"#)
    .response::<CustomerBody>(r#"{"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan.perez@email.com", "externalId": "crm-4711", "metadata": {"segment": "gold"}, "erasedAt": null}"#)
    .refusals(&[Code::CustomerNotFound, Code::DuplicateEmail, Code::DuplicateExternalId, Code::TooMuchMetadata, Code::CustomerErased]);

/// `PATCH /customers/{customerId}`
pub(super) async fn change(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<CustomerId>,
    command: Command<ChangeRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, CustomerBody::of);
    let outcome = app.services.customers.change(&caller.actor(), id.ok(), &command.body.0, idempotent.as_ref()).await?;
    Ok(respond(outcome, CustomerBody::of))
}

/// An erased person.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErasedCustomer {
    success: bool,
    customer_id: CustomerId,
    erased_at: Option<Timestamp>,
}

/// `DELETE /customers/{customerId}`
pub(super) const ERASE: Operation = Operation::new("eraseCustomer", Tag::Customers, "Erase Customer")
    .about("Erase a person for good: their name, their email and their metadata, the labels and the metadata of their cards, the names of their limits, and all of this in responses that are kept under Idempotency-Keys. Ids and money stay, and the email is free again. All of their cards must be cancelled and empty. For admins.")
    .response::<ErasedCustomer>(r#"{"success": true, "customerId": "cus_01h455vb4pex5vsknk084sn02q", "erasedAt": "2025-02-10T10:00:00.000Z"}"#)
    .refusals(&[Code::CustomerNotFound, Code::CustomerHasCards]);

/// `DELETE /customers/{customerId}`
pub(super) async fn erase(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<CustomerId>,
) -> Result<JsonBody<ErasedCustomer>> {
    let id = id.map_err(|_| Refusal::CustomerNotFound)?;
    let customer = app.services.customers.erase(&caller.actor(), id).await?;
    Ok(JsonBody(ErasedCustomer { success: true, customer_id: customer.id, erased_at: customer.erased_at.map(Timestamp) }))
}

/// The filters of a list, as text that a cursor can carry.
fn filters(query: &mut Query) -> CustomerFilter {
    CustomerFilter { email: query.email("email"), external_id: query.checked("externalId"), search: query.checked("q") }
}

/// The canonical query string of the filters; [`filters`] parses it.
fn canonical(filter: &CustomerFilter) -> String {
    let email = filter.email.as_ref().map(Email::key);
    let named = [
        ("email", email.as_deref()),
        ("externalId", filter.external_id.as_ref().map(ExternalId::as_str)),
        ("q", filter.search.as_ref().map(Search::as_str)),
    ];
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    text.finish()
}

/// `GET /customers`
pub(super) const LIST: Operation = Operation::new("listCustomers", Tag::Customers, "List Customers")
    .about("Retrieve all customers in your account, oldest first, or those that the filters leave.")
    .filters(&[
        Filter::new::<Email>("email", "Only the customer with this email, regardless of case."),
        Filter::new::<ExternalId>("externalId", "Only the customer with this external id."),
        Filter::new::<Search>("q", "Only customers whose name has a word that starts like this, or whose email does, regardless of case and accents. Of several words, each must be found."),
    ])
    .list::<CustomerBody>(
        "customers",
        r#"{"customers": [
            {"customerId": "cus_01h455vb4pex5vsknk084sn02q", "name": "Juan Perez", "email": "juan@email.com", "externalId": null, "metadata": {}, "erasedAt": null},
            {"customerId": "cus_01h455vb4pex5vsknk084sn02r", "name": "Maria Garcia", "email": "maria@email.com", "externalId": null, "metadata": {}, "erasedAt": null}
        ]}"#,
    );

/// `GET /customers`
pub(super) async fn list(State(app): State<App>, Reader(caller): Reader, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let mut filter = filters(&mut query);
    if canonical(&filter).is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor| cursor.filters("customers"))
    {
        filter = filters(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), "customers", &canonical(&filter));
    query.done()?;
    let customers = app.services.customers.clone();
    page.respond(
        "customers",
        move |after, limit| {
            let (customers, filter) = (customers.clone(), filter.clone());
            async move { customers.page(caller.account, &filter, after.unwrap_or(0), limit).await }
        },
        |customer: &Customer| (customer.number, CustomerBody::of(customer)),
    )
    .await
}
