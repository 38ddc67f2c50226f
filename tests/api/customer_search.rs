//! People are found by the start of a word of their name, or of their email.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::{Actor, World};

async fn given(admin: &Actor, name: &str, email: &str) -> String {
    let created = admin.post("/customers", json!({"name": name, "email": email})).await.ok();
    created["customerId"].as_str().expect("an id").to_owned()
}

/// The names that a query finds, in the order of the answer.
async fn names(actor: &Actor, query: &str) -> Vec<String> {
    let found = actor.get(&format!("/customers?{query}")).await.ok();
    let customers = found["customers"].as_array().expect("a list").iter();
    customers.map(|customer| customer["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn people_are_found_by_the_start_of_a_word_or_of_the_email() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let (maria, juan, obrien, wang) = ("María José Ñandú-Pérez", "Juan Perez", "Seán O'Brien", "王小明");
    for (name, email) in [(maria, "mj@email.com"), (juan, "Juan.Perez@Email.com"), (obrien, "sean@email.com"), (wang, "wang@email.com")] {
        given(&admin, name, email).await;
    }
    given(&other, juan, "juan.perez@email.com").await;
    for (query, found) in [
        ("maria", vec![maria]),
        ("MARÍA", vec![maria]),
        ("nandu", vec![maria]),
        ("%C3%B1and%C3%BA-p", vec![maria]),
        ("per", vec![maria, juan]),
        ("PÉREZ", vec![maria, juan]),
        ("perez+mar", vec![maria]),
        ("jo+ma+per", vec![maria]),
        ("juan.perez@EMAIL.com", vec![juan]),
        ("mj@", vec![maria]),
        ("perez+juan.", vec![juan]),
        ("obr", vec![obrien]),
        ("o%27brien+sean", vec![obrien]),
        ("王", vec![wang]),
        ("erez", vec![]),
        ("email", vec![]),
        ("mariaa", vec![]),
        ("perez+x", vec![]),
        ("--", vec![]),
        ("%25", vec![]),
        ("per_z", vec![]),
    ] {
        assert_eq!(names(&admin, &format!("q={query}")).await, found, "{query}");
    }
    assert_eq!(names(&admin, "q=per&email=juan.perez@email.com").await, [juan]);
    assert_eq!(names(&admin, "q=mar&email=juan.perez@email.com").await, Vec::<String>::new());
    for (query, fault) in [("", "q: blank"), ("+", "q: blank"), ("%00", "q: control_character"), (&"x".repeat(101), "q: too_long")] {
        assert_eq!(admin.get(&format!("/customers?q={query}")).await.field_errors(), [fault]);
    }
}

#[tokio::test]
async fn a_changed_name_or_email_is_found_and_the_one_before_is_not() {
    let (_world, admin) = World::with_admin().await;
    let id = given(&admin, "Juan Perez", "juan@email.com").await;
    admin.patch(&format!("/customers/{id}"), json!({"name": "Juana Gómez", "email": "jg@email.com"})).await.ok();
    for (query, found) in [("perez", false), ("juan@", false), ("juan", true), ("gomez", true), ("jg@e", true)] {
        assert_eq!(names(&admin, &format!("q={query}")).await.len(), usize::from(found), "{query}");
    }
}

#[tokio::test]
async fn a_search_is_paged_like_any_list() {
    let (_world, admin) = World::with_admin().await;
    for number in 0..7 {
        given(&admin, &format!("Ana Number{number}"), &format!("ana.{number}@email.com")).await;
        given(&admin, "Juan Perez", &format!("juan.{number}@email.com")).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/customers?q=n%C3%9AMBER&limit=3{cursor}")).await.ok();
        let customers = page["customers"].as_array().expect("a list");
        found.extend(customers.iter().map(|customer| customer["name"].clone()));
        // The cursor carries the search.
        let Some(next) = page["nextCursor"].as_str() else { break };
        let alone = admin.get(&format!("/customers?after={next}")).await.ok();
        assert!(alone["customers"].as_array().expect("a list").iter().all(|customer| customer["name"] != "Juan Perez"));
        assert_eq!(admin.get(&format!("/customers?q=ana&after={next}")).await.field_errors(), ["after: invalid_cursor"]);
        cursor = format!("&after={next}");
        given(&admin, "Zoe Other", &format!("zoe.{}@email.com", found.len())).await;
    }
    assert_eq!(found, (0..7).map(|number| json!(format!("Ana Number{number}"))).collect::<Vec<Value>>());
}

#[tokio::test]
async fn customers_of_an_earlier_version_are_found_too() {
    let (world, admin) = World::with_admin().await;
    let id = given(&admin, "María Nueva", "maria@email.com").await;
    // As an earlier version leaves them.
    world
        .database
        .execute(
            "insert into customers (account_id, id, number, name, email, email_key)
             select account_id, gen_random_uuid(), 1000 + place, 'Señora Vieja ' || place, place || '@email.com', place || '@email.com'
             from customers, generate_series(1, 1200) place",
        )
        .await;
    let late = world.fresh_replica().await;
    world.database.wait_for(0, "select count(*) from customers where not has_words").await;
    let found = admin.get("/customers?q=senora+vieja").await.ok();
    assert_eq!(found["customers"].as_array().map(Vec::len), Some(1200));
    assert_eq!(names(&admin, "q=senora+1200").await, ["Señora Vieja 1200"]);
    // One whose name changes before it had words has them then.
    world.database.execute("delete from customer_words").await;
    admin.patch(&format!("/customers/{id}"), json!({"name": "María Otra"})).await.ok();
    assert_eq!(names(&admin, "q=otra").await, ["María Otra"]);
    drop(late);
}

#[expect(clippy::print_stdout, reason = "the measurement is what the test is for")]
async fn measure(admin: &Actor, query: &str, limit: usize) {
    let started = Instant::now();
    let found = admin.get(&format!("/customers?q={query}&limit={limit}")).await.ok();
    println!("{query}, {limit}: {:?}, {} found", started.elapsed(), found["customers"].as_array().map_or(0, Vec::len));
    assert!(started.elapsed() < Duration::from_secs(4), "{query}");
}

/// `cargo test --test api customer_search -- --ignored --nocapture` prints the times of docs/customers-and-cards.md.
#[tokio::test]
#[ignore = "writes a million customers"]
async fn a_million_customers_are_searched_by_an_index() {
    let (world, admin) = World::with_admin().await;
    given(&admin, "María Única", "unica@email.com").await;
    let fill = "
        with people as (
            insert into customers (account_id, id, number, name, email, email_key, has_words)
            select account_id, gen_random_uuid(), 1000 + place, 'Person' || place % 5000 || ' Family' || place % 9973,
                place || '@email.com', place || '@email.com', true
            from customers, generate_series(1, 1000000) place
            returning account_id, id, number, name, email
        )
        insert into customer_words (account_id, customer_id, number, word)
        select account_id, id, number, unnest(string_to_array(lower(name), ' ') || email) from people";
    let mut connection = world.database.connect().await;
    for statement in ["set statement_timeout = 0", fill, "vacuum analyze customer_words", "vacuum analyze customers"] {
        connection.execute(statement).await.expect("filled");
    }
    for query in ["unica", "person4999", "person4999+family12", "person", "person+family1", "p+f", "999999@"] {
        for limit in [20, 100] {
            measure(&admin, query, limit).await;
        }
    }
}
