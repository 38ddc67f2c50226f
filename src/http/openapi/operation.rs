//! The description of an endpoint that its signature does not provide: names, texts, examples and its own
//! error codes. It is a constant above each handler.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use strum::EnumCount;

use crate::http::code::Code;

/// Generates a type's schema.
pub(in crate::http) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`, by reference if it has a name.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The section of the document that an endpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount)]
pub(in crate::http) enum Tag {
    Authentication,
    Users,
    ApiKeys,
    Audit,
    Customers,
    VirtualCards,
    Balances,
    Transactions,
    Authorizations,
    Events,
    Spending,
    Webhooks,
    Network,
    Sandbox,
    Service,
}

impl Tag {
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Authentication,
        Self::Users,
        Self::ApiKeys,
        Self::Audit,
        Self::Customers,
        Self::VirtualCards,
        Self::Balances,
        Self::Transactions,
        Self::Authorizations,
        Self::Events,
        Self::Spending,
        Self::Webhooks,
        Self::Network,
        Self::Sandbox,
        Self::Service,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::Users => "Users",
            Self::ApiKeys => "API Keys",
            Self::Audit => "Audit",
            Self::Customers => "Customers",
            Self::VirtualCards => "Virtual Cards",
            Self::Balances => "Balances",
            Self::Transactions => "Transactions",
            Self::Authorizations => "Authorizations",
            Self::Events => "Events",
            Self::Spending => "Controls and Limits",
            Self::Webhooks => "Webhooks",
            Self::Network => "Network",
            Self::Sandbox => "Sandbox",
            Self::Service => "Service",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Authentication => "Logins, sessions and their tokens.",
            Self::Users => "The account's users and their roles. For admins.",
            Self::ApiKeys => "Keys with which programs call the API without a login. For admins.",
            Self::Audit => "The audit log: who did what, and from where. For admins.",
            Self::Customers => "The customers that cards are assigned to.",
            Self::VirtualCards => "Issue cards, assign them and change their status.",
            Self::Balances => "Money on cards.",
            Self::Transactions => "The movements that changed a card's balance.",
            Self::Authorizations => "What cards were asked to pay, what is held for it, and why payments were declined.",
            Self::Events => "What happened, in an order that skips nothing.",
            Self::Spending => "What a card may be used for, and how much it, or all cards of a customer, may spend.",
            Self::Webhooks => "Events that are sent to endpoints of yours. For admins.",
            Self::Network => {
                "What a card network's gateway calls, with an API key of the role `network`. In the sandbox operators and admins may call it as well. Every request needs an `Idempotency-Key`."
            }
            Self::Sandbox => "Simulated merchants and clocks. Production does not have these routes.",
            Self::Service => "Health, this document and the error codes.",
        }
    }
}

/// The body of a success.
#[derive(Clone, Copy, Debug)]
pub(super) enum SuccessBody {
    /// A JSON object.
    Body(SchemaOf),
    /// A list under this name, or a page of it if requested.
    List(&'static str, SchemaOf),
}

/// A query parameter, such as one that filters a list.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Filter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) is_required: bool,
}

impl Filter {
    pub(in crate::http) const fn new<T: JsonSchema>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, schema: schema_of::<T>, is_required: false }
    }

    /// Says that the request has to have it.
    pub(in crate::http) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }
}

/// The description of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) request: Option<&'static str>,
    pub(super) body: SuccessBody,
    pub(super) example: &'static str,
    pub(super) or_html: bool,
    pub(super) csv: Option<&'static str>,
    pub(super) filters: &'static [Filter],
    pub(super) is_paged: bool,
    pub(super) refusals: &'static [Code],
    pub(super) exceptions: &'static [Code],
}

impl Operation {
    /// Starts a description. The `id` is the `operationId`. It never changes, since generated clients use it.
    pub(in crate::http) const fn new(id: &'static str, tag: Tag, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            about: "",
            request: None,
            body: SuccessBody::Body(schema_of::<Map<String, Value>>),
            example: "",
            or_html: false,
            csv: None,
            filters: &[],
            is_paged: false,
            refusals: &[],
            exceptions: &[],
        }
    }

    /// Adds a description that is longer than the summary.
    pub(in crate::http) const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// Adds an example of the request body as JSON. The schema comes from the code that reads the body.
    pub(in crate::http) const fn request(mut self, example: &'static str) -> Self {
        self.request = Some(example);
        self
    }

    /// Sets the body of a success to a `T`, with an example.
    pub(in crate::http) const fn response<T: JsonSchema>(mut self, example: &'static str) -> Self {
        (self.body, self.example) = (SuccessBody::Body(schema_of::<T>), example);
        self
    }

    /// Sets the body of a success to a list of `T` under a name, with an example, and adds `limit` and `after`.
    pub(in crate::http) const fn list<T: JsonSchema>(mut self, name: &'static str, example: &'static str) -> Self {
        (self.body, self.example) = (SuccessBody::List(name, schema_of::<T>), example);
        self.paged()
    }

    /// Adds `limit` and `after`.
    pub(in crate::http) const fn paged(mut self) -> Self {
        self.is_paged = true;
        self
    }

    /// Adds an HTML page as an alternative, for clients that accept HTML.
    pub(in crate::http) const fn or_html(mut self) -> Self {
        self.or_html = true;
        self
    }

    /// Adds a CSV file as an alternative, for clients that accept CSV, with an example.
    pub(in crate::http) const fn or_csv(mut self, example: &'static str) -> Self {
        self.csv = Some(example);
        self
    }

    /// Sets the filters of a list.
    pub(in crate::http) const fn filters(mut self, filters: &'static [Filter]) -> Self {
        self.filters = filters;
        self
    }

    /// Adds error codes to those that the signature implies.
    pub(in crate::http) const fn refusals(mut self, codes: &'static [Code]) -> Self {
        self.refusals = codes;
        self
    }

    /// Removes error codes that the signature implies but the endpoint never returns.
    pub(in crate::http) const fn never(mut self, codes: &'static [Code]) -> Self {
        self.exceptions = codes;
        self
    }
}
