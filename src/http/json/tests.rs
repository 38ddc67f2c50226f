use super::*;

fn refused(body: &str) -> bool {
    matches!(Fields::parse(body), Err(Error::InvalidJson(_)))
}

#[test]
fn only_one_well_formed_object_is_accepted() {
    for body in ["{}", " {\"a\":1}\n", "{\"a\":{\"b\":[1,\"\\ud83d\\ude00\",null]}}", "{\"a\":1e400}"] {
        assert!(!refused(body), "{body}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        "",
        " ",
        "1",
        "null",
        "[]",
        "\"a\"",
        "{",
        "{\"a\":1",
        "{\"a\":1}}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"x\":{\"b\":1,\"b\":1}}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":[\"\\udc00x\"]}",
        "{\"a\":\"\n\"}",
        "\u{feff}",
        "{} {}",
        deep.as_str(),
    ] {
        assert!(refused(body), "{body}");
    }
}

struct Inner(String);

impl FromFields for Inner {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.trimmed("mcc", 4).map(Self)
    }
}

fn faults<T>(body: &str, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> (Option<T>, Vec<(String, String)>) {
    let Ok(mut fields) = Fields::parse(body) else { panic!("well-formed") };
    let value = read(&mut fields);
    (value, fields.faults.into_iter().map(|fault| (fault.field.into_owned(), fault.detail)).collect())
}

#[test]
fn a_fault_in_an_object_is_named_by_its_path() {
    let read = |fields: &mut Fields<'_>| fields.optional("merchant", |fields, name| fields.object::<Inner>(name, "Inner"));
    assert!(matches!(faults(r#"{"merchant":{"mcc":"5734","x":1}}"#, read), (Some(Inner(mcc)), none) if mcc == "5734" && none.is_empty()));
    for absent in ["{}", r#"{"merchant":null}"#] {
        assert!(matches!(faults(absent, read), (None, none) if none.is_empty()), "{absent}");
    }
    for (body, field, detail) in [
        (r#"{"merchant":{}}"#, "merchant.mcc", "merchant.mcc is required."),
        (r#"{"merchant":{"mcc":"57345"}}"#, "merchant.mcc", "merchant.mcc takes at most 4 characters."),
        (r#"{"merchant":{"mcc":5734}}"#, "merchant.mcc", "merchant.mcc must be a string, not a number."),
        (r#"{"merchant":[]}"#, "merchant", "merchant must be an object, not an array."),
        (r#"{"merchant":"AMAZON"}"#, "merchant", "merchant must be an object, not a string."),
    ] {
        let (value, found) = faults(body, read);
        assert!(value.is_none(), "{body}");
        assert_eq!(found, [(field.to_owned(), detail.to_owned())], "{body}");
    }
}

#[test]
fn metadata_is_an_object_of_strings() {
    let read = |fields: &mut Fields<'_>| fields.metadata("metadata").map(|metadata| metadata.to_json());
    for (body, kept) in [("{}", "{}"), (r#"{"b":"1","a":null,"":null,"c":""}"#, r#"{"b":"1","c":""}"#)] {
        assert_eq!(faults(&format!("{{\"metadata\":{body}}}"), read), (Some(kept.to_owned()), Vec::new()), "{body}");
    }
    for (body, detail) in [
        ("[]", "metadata must be an object, not an array."),
        (r#"{"a":1}"#, "metadata must be an object of strings, not a number."),
        (r#"{"a":{"b":"c"}}"#, "metadata must be an object of strings, not an object."),
        (r#"{"":"b"}"#, "metadata takes keys of 1 to 40 characters."),
        (r#"{"a":"b\u0000"}"#, "metadata must not have control characters in it."),
    ] {
        let found = faults(&format!("{{\"metadata\":{body}}}"), read);
        assert_eq!(found, (None, vec![("metadata".to_owned(), detail.to_owned())]), "{body}");
    }
}

#[test]
fn a_sum_is_at_least_zero_and_one_of_several_fields_may_be_present() {
    for (body, minor, detail) in [
        ("0", Some(0), ""),
        ("0.01", Some(1), ""),
        ("-0.01", None, "a must be 0 or more."),
        ("\"1\"", None, "a must be a JSON number, not a string."),
    ] {
        let (sum, found) = faults(&format!("{{\"a\":{body}}}"), |fields| fields.sum("a"));
        assert_eq!(sum.map(Money::minor), minor, "{body}");
        assert_eq!(found.first().map(|(_, detail)| detail.as_str()).unwrap_or_default(), detail, "{body}");
    }
    let several = |body| {
        let read = |fields: &mut Fields<'_>| {
            fields.at_most_one_of(&["a", "b", "c"]);
            Some(())
        };
        faults(body, read).1
    };
    assert_eq!([several("{}"), several(r#"{"a":1,"b":null}"#), several(r#"{"c":1}"#)], [const { Vec::new() }; 3]);
    let detail = "c must be left out if one of these is present: a, b.";
    assert_eq!(several(r#"{"a":1,"c":2}"#), [("c".to_owned(), detail.to_owned())]);
}

#[test]
fn numbers_keep_their_original_precision() {
    let Ok(mut fields) = Fields::parse("{\"amount\":12345678901234.56}") else { panic!("well-formed") };
    assert_eq!(fields.amount("amount").map(|amount| amount.money().minor()), Some(1_234_567_890_123_456));
}
