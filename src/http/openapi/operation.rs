//! What the document says of one endpoint that its code does not: names, words, examples, and the
//! refusals of its own. Each handler has one above it, as a constant.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::http::code::Code;

/// Makes a type's schema.
pub(in crate::http) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`, by reference where it has a name.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Where an endpoint stands in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Tag {
    Authentication,
    Users,
    Audit,
    Customers,
    VirtualCards,
    Balances,
    Transactions,
    Sandbox,
    Service,
}

impl Tag {
    pub(super) const ALL: [Self; 9] = [
        Self::Authentication,
        Self::Users,
        Self::Audit,
        Self::Customers,
        Self::VirtualCards,
        Self::Balances,
        Self::Transactions,
        Self::Sandbox,
        Self::Service,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::Users => "Users",
            Self::Audit => "Audit",
            Self::Customers => "Customers",
            Self::VirtualCards => "Virtual Cards",
            Self::Balances => "Balances",
            Self::Transactions => "Transactions",
            Self::Sandbox => "Sandbox",
            Self::Service => "Service",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Authentication => "Logins, sessions and their tokens.",
            Self::Users => "Who logs in for the account, and as what. For admins.",
            Self::Audit => "Who did what, and from where. For admins.",
            Self::Customers => "Who cards are assigned to.",
            Self::VirtualCards => "Issue cards, assign them, change their status.",
            Self::Balances => "Money on cards.",
            Self::Transactions => "What changed a card's balance.",
            Self::Sandbox => "What stands in for merchants. In production these routes do not exist.",
            Self::Service => "Health, this document, and what the error codes mean.",
        }
    }
}

/// What a success is answered with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// A JSON object.
    Body(SchemaOf),
    /// A list under this name, a page of it where one is asked for.
    List(&'static str, SchemaOf),
}

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Filter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
}

impl Filter {
    pub(in crate::http) const fn new<T: JsonSchema>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, schema: schema_of::<T> }
    }
}

/// One endpoint, in words.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) request: Option<&'static str>,
    pub(super) answer: Answer,
    pub(super) example: &'static str,
    pub(super) or_page: bool,
    pub(super) filters: &'static [Filter],
    pub(super) refusals: &'static [Code],
    pub(super) exceptions: &'static [Code],
}

impl Operation {
    /// An endpoint by its `operationId`, which clients are generated from and which so never changes.
    pub(in crate::http) const fn new(id: &'static str, tag: Tag, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            about: "",
            request: None,
            answer: Answer::Body(schema_of::<Map<String, Value>>),
            example: "",
            or_page: false,
            filters: &[],
            refusals: &[],
            exceptions: &[],
        }
    }

    /// More than the summary says.
    pub(in crate::http) const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// An example of the request's body, as JSON. Its schema comes from the code that reads it.
    pub(in crate::http) const fn request(mut self, example: &'static str) -> Self {
        self.request = Some(example);
        self
    }

    /// A success is answered with a `T`, as in the example.
    pub(in crate::http) const fn answer<T: JsonSchema>(mut self, example: &'static str) -> Self {
        (self.answer, self.example) = (Answer::Body(schema_of::<T>), example);
        self
    }

    /// A success is answered with a list of `T` under a name, as in the example. It takes `limit` and `after`.
    pub(in crate::http) const fn list<T: JsonSchema>(mut self, name: &'static str, example: &'static str) -> Self {
        (self.answer, self.example) = (Answer::List(name, schema_of::<T>), example);
        self
    }

    /// Whoever asks for HTML gets a page instead.
    pub(in crate::http) const fn or_page(mut self) -> Self {
        self.or_page = true;
        self
    }

    /// What a list can be narrowed by.
    pub(in crate::http) const fn filters(mut self, filters: &'static [Filter]) -> Self {
        self.filters = filters;
        self
    }

    /// The refusals of its own, beside those that its signature brings.
    pub(in crate::http) const fn refusals(mut self, codes: &'static [Code]) -> Self {
        self.refusals = codes;
        self
    }

    /// Of the refusals that its signature brings, those that it never answers with.
    pub(in crate::http) const fn never(mut self, codes: &'static [Code]) -> Self {
        self.exceptions = codes;
        self
    }
}
