//! A body in the words of the document, noted down while nothing is read.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The fields that were asked for so far.
#[derive(Debug, Default)]
pub(in crate::http) struct Described {
    generator: SchemaGenerator,
    fields: Map<String, Value>,
    optional: Vec<&'static str>,
}

impl Described {
    pub(in crate::http) fn with(generator: SchemaGenerator) -> Self {
        Self { generator, ..Self::default() }
    }

    pub(in crate::http) fn field(&mut self, name: &'static str, schema: impl FnOnce(&mut SchemaGenerator) -> Schema) {
        self.fields.insert(name.to_owned(), schema(&mut self.generator).into());
    }

    pub(in crate::http) fn at_least_one_of(&mut self, names: &[&'static str]) {
        self.optional.extend_from_slice(names);
    }

    /// The schema of the body. Members that it does not name are ignored, so they may be there.
    pub(in crate::http) fn into_schema(self, generator: &mut SchemaGenerator) -> Schema {
        *generator = self.generator;
        let required: Vec<&String> = self.fields.keys().filter(|name| !self.optional.contains(&name.as_str())).collect();
        let mut schema = json_schema!({"type": "object"});
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !self.optional.is_empty() {
            let one_of_them: Vec<Value> = self.optional.iter().map(|name| json!({"required": [name]})).collect();
            // Beside the properties itself, generators take it for the whole of the schema.
            schema.insert("allOf".to_owned(), json!([{"anyOf": one_of_them}]));
        }
        schema.insert("properties".to_owned(), self.fields.into());
        schema
    }
}
