//! The rules of text hold on the command line and in the document as they do over HTTP.

use core_api::{config::Environment, domain::text::Name, http};
use jsonschema::Draft;
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, World,
    binary::{core_api_on, run},
};

#[tokio::test]
async fn names_and_emails_on_the_command_line_are_trimmed_and_must_be_visible() {
    let world = World::new().await;
    let core_api = |arguments: &[&str]| run(core_api_on(&world.database).args(arguments));
    let before = world.database.number("select count(*) from accounts").await;
    for name in ["", " \t", "\u{200b}\u{feff}", "\u{3164}", "\u{2800}", "Acme\u{202e}emcA", "\u{2066}Acme", "Ac\u{1b}[31mme", "Ac\tme"] {
        let refused = core_api(&["account", "create", name]);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{name:?}: {refused:?}");
    }
    assert_eq!(world.database.number("select count(*) from accounts").await, before);
    let created = core_api(&["account", "create", "\t Acme\u{a0}Ltd \u{2003}\n"]);
    assert!(created.status.success(), "{created:?}");
    assert_eq!(world.database.number("select count(*) from accounts where name = E'Acme\\u00A0Ltd'").await, 1);
}

#[tokio::test]
async fn a_user_s_email_is_trimmed_where_it_is_set_and_where_it_is_used() {
    let (world, admin) = World::with_admin().await;
    let created = admin.post("/users", json!({"email": "\tana@acme.com\u{2003}", "password": PASSWORD, "role": "viewer"})).await.ok();
    assert_eq!(created["email"], "ana@acme.com");
    for email in ["ana@acme.com", "\tANA@acme.com\r\n", "\u{a0}ana@acme.com "] {
        let login = world.anonymous().post("/auth/login", json!({"email": email, "password": PASSWORD})).await.ok();
        assert_eq!(login["userId"], created["userId"], "{email:?}");
    }
    let blank = world.anonymous().post("/auth/login", json!({"email": " \t", "password": PASSWORD})).await;
    assert_eq!(blank.field_errors(), ["email: blank"]);
    // A password is never trimmed.
    let padded = world.anonymous().post("/auth/login", json!({"email": "ana@acme.com", "password": format!(" {PASSWORD}")})).await;
    padded.problem(401, "invalid_credentials");
    admin.post("/users", json!({"email": "eva@acme.com\u{202e}", "password": PASSWORD, "role": "viewer"})).await.field_errors();
}

#[test]
fn the_schema_of_a_name_accepts_the_same_characters_as_the_service() {
    let document: Value = serde_json::from_str(&http::openapi(Environment::Sandbox)).expect("JSON");
    let schema = &document["components"]["schemas"]["Name"];
    let validator = jsonschema::options().with_draft(Draft::Draft202012).build(schema).expect("a schema");
    // Patterns leave out characters beyond U+FFFF: languages disagree about their notation.
    let differing: Vec<String> = ('\0'..='\u{ffff}')
        .flat_map(|character| [character.to_string(), format!("a{character}b")])
        .filter(|text| validator.is_valid(&json!(text)) != text.parse::<Name>().is_ok())
        .map(|text| format!("{text:?}"))
        .collect();
    assert!(differing.is_empty(), "{} texts, such as {:?}", differing.len(), &differing[..differing.len().min(10)]);
}
