//! The SQL in the source of the service.

/// A statement in the code.
#[derive(Debug)]
pub struct Sql {
    /// The function that runs it.
    pub function: String,
    pub text: String,
}

/// A macro whose expansion is a statement with parts that are given to it.
struct Template<'a> {
    /// Its name, as a call begins: `select_cards!(`.
    call: String,
    /// The names of its literals, in the order of its pattern.
    parameters: Vec<&'a str>,
    /// From its query on.
    body: &'a str,
}

/// The statements in the code of a file. A macro that has one counts once for each of its calls.
pub fn statements(code: &str) -> Vec<Sql> {
    let (code, templates) = split_templates(code);
    let calls_of = |call: &str| code.match_indices(call).map(|(place, _)| place).collect::<Vec<_>>();
    // Others than macros run what is put together at run time, or what only a distributed database knows.
    let is_macro = |place: &usize| code[*place..].split('(').next().is_some_and(|name| name.ends_with('!'));
    let direct = calls_of("sqlx::query").into_iter().filter(is_macro).map(|place| (place, text(&code[place..], &[])));
    let expanded = templates.iter().flat_map(|template| {
        calls_of(&template.call).into_iter().map(|place| {
            let mut rest = &code[place..];
            let given = template.parameters.iter().map(|name| {
                let (part, after) = literal(rest).expect("a literal for each of the macro's");
                rest = after;
                (*name, part)
            });
            (place, text(template.body, &given.collect::<Vec<_>>()))
        })
    });
    let found = direct.chain(expanded).map(|(place, text)| Sql { function: function_at(&code, place), text });
    found.collect()
}

/// The code without its macros that are statements, and those.
fn split_templates(code: &str) -> (String, Vec<Template<'_>>) {
    let mut parts = code.split("macro_rules! ");
    let (mut rest, mut templates) = (parts.next().unwrap_or_default().to_owned(), Vec::new());
    for part in parts {
        let (definition, after) = part.split_once("\n}\n").expect("the end of a macro");
        if let Some(query) = definition.find("sqlx::query") {
            let (name, pattern) = definition.split_once(" {").expect("a macro");
            let pattern = pattern.split("=>").next().unwrap_or_default();
            let parameters = pattern.split('$').filter_map(|parameter| parameter.split_once(":literal").map(|(name, _)| name));
            templates.push(Template { call: format!("{name}!("), parameters: parameters.collect(), body: &definition[query..] });
        }
        rest.push_str(after);
    }
    (rest, templates)
}

/// The text of a query: literals joined by `+`, and names of macros' parameters, each with its literal.
fn text(code: &str, given: &[(&str, String)]) -> String {
    let (mut text, mut rest) = literal(code).expect("a statement");
    while let Some(next) = rest.trim_start().strip_prefix('+').map(str::trim_start) {
        let parameter = next.strip_prefix('$').map(|next| next.split_at(next.find([' ', ',', '\n', ')']).unwrap_or(next.len())));
        let (part, after) = match parameter {
            Some((name, after)) => {
                let (_, part) = given.iter().find(|(parameter, _)| *parameter == name).expect("a parameter of the macro");
                (part.clone(), after)
            }
            None => literal(next).expect("a literal"),
        };
        text.push_str(&part);
        rest = after;
    }
    text
}

/// The first text in a piece of code, and the code after it.
fn literal(code: &str) -> Option<(String, &str)> {
    let (before, rest) = code.split_once('"')?;
    if before.ends_with("r#") {
        return rest.split_once("\"#").map(|(text, rest)| (text.to_owned(), rest));
    }
    let (end, _) = rest.match_indices('"').find(|(place, _)| !rest[..*place].ends_with('\\'))?;
    Some((rest[..end].replace("\\\"", "\""), &rest[end + 1..]))
}

fn function_at(code: &str, place: usize) -> String {
    let name = code[..place].rsplit("fn ").next().and_then(|rest| rest.split(['(', '<']).next());
    name.expect("a function").to_owned()
}

#[test]
fn a_statement_of_a_macro_is_put_together_for_each_of_its_calls() {
    let code = "
macro_rules! find {
    ($from:literal, $rest:literal, $($parameters:expr),*) => {
        sqlx::query_as!(Row, r#\"select \"id\" from \"# + $from + \" where \" + $rest, $($parameters),*)
    };
}

fn one() {
    find!(\"cards\", \"\\\"id\\\" = $1\", id as CardId)
}

fn two() {
    find!(\"users\", r#\"true\"#,);
}

fn three() {
    sqlx::query!(\"select \" + \"1\")
}
";
    let found: Vec<(String, String)> = statements(code).into_iter().map(|sql| (sql.function, sql.text)).collect();
    let expected =
        [("three", "select 1"), ("one", "select \"id\" from cards where \"id\" = $1"), ("two", "select \"id\" from users where true")];
    assert_eq!(found, expected.map(|(function, text)| (function.to_owned(), text.to_owned())));
}
