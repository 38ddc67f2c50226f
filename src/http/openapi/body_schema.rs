//! Records the schema of a request body while its reader runs without a body.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The fields that the reader has read so far.
#[derive(Debug, Default)]
pub(in crate::http) struct BodySchema {
    generator: SchemaGenerator,
    fields: Map<String, Value>,
    optional: Vec<&'static str>,
    at_least_one_of: Vec<&'static str>,
}

impl BodySchema {
    pub(in crate::http) fn with(generator: SchemaGenerator) -> Self {
        Self { generator, ..Self::default() }
    }

    pub(in crate::http) fn field(&mut self, name: &'static str, schema: impl FnOnce(&mut SchemaGenerator) -> Schema) {
        self.fields.insert(name.to_owned(), schema(&mut self.generator).into());
    }

    pub(in crate::http) fn at_least_one_of(&mut self, names: &[&'static str]) {
        self.optional.extend_from_slice(names);
        self.at_least_one_of.extend_from_slice(names);
    }

    pub(in crate::http) fn optional(&mut self, name: &'static str) {
        self.optional.push(name);
    }

    /// The schema of the body. It permits other members, since the API ignores them.
    pub(in crate::http) fn into_schema(mut self, generator: &mut SchemaGenerator) -> Schema {
        *generator = self.generator;
        let required: Vec<&String> = self.fields.keys().filter(|name| !self.optional.contains(&name.as_str())).collect();
        let mut schema = json_schema!({"type": "object"});
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !self.at_least_one_of.is_empty() {
            // Only in words: linters and client generators take an `anyOf` of the fields for the schema of the whole body.
            let text = format!("At least one of {} must be given, and not be null.", self.at_least_one_of.join(" and "));
            schema.insert("description".to_owned(), text.into());
        }
        for name in &self.optional {
            if let Some(field) = self.fields.get_mut(*name) {
                *field = json!({"anyOf": [field.take(), {"type": "null"}]});
            }
        }
        schema.insert("properties".to_owned(), self.fields.into());
        schema
    }
}
