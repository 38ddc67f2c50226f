//! `/docs`: the page and the files that it loads.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use reqwest::Method;
use serde_json::json;

use crate::support::{
    Database, Reply, World,
    binary::{Process, core_api_on},
    socket::{Answer, Socket},
};

const BUNDLE: &str = "/docs/swagger-ui-bundle.js";

/// The answer to a GET with these headers, without following it if it is a redirect.
async fn get(world: &World, path: &str, headers: &str) -> Answer {
    Socket::to(&world.anonymous()).await.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await.answer().await
}

/// The paths that follow this attribute in the page.
fn loaded<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_page_loads_only_files_that_this_server_serves() {
    let world = World::new().await;
    let client = world.anonymous();
    let page = client.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");

    let scripts = loaded(&page.text, "<script src=\"");
    let styles = loaded(&page.text, "<link rel=\"stylesheet\" href=\"");
    assert_eq!((scripts.len(), styles.len()), (3, 2), "{scripts:?} {styles:?}");
    for (path, kind) in scripts.iter().map(|path| (path, "text/javascript")).chain(styles.iter().map(|path| (path, "text/css"))) {
        let file = client.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        assert!(file.header("content-type").is_some_and(|given| given.starts_with(kind)), "{path}: {:?}", file.header("content-type"));
        assert!(file.text.len() > 1_000, "{path} is empty");
    }
}

#[tokio::test]
async fn only_the_files_of_the_page_are_served() {
    let world = World::new().await;
    for path in
        ["/docs/index.html", "/docs/swagger-initializer.js", "/docs/..%2Fdocs.rs", "/docs/%FF", "/docs/a/b", "/docs//", "/docs/docs.css/"]
    {
        world.anonymous().get(path).await.problem(404, "route_not_found");
    }
}

#[tokio::test]
async fn the_root_leads_browsers_to_the_page_and_tells_programs_where_to_look() {
    let world = World::new().await;
    let browser = get(&world, "/", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n").await;
    assert_eq!((browser.status, browser.body.as_str()), (307, ""));
    assert!(browser.head.contains("\r\nlocation: /docs\r\n") && browser.head.contains("\r\nvary: accept\r\n"), "{}", browser.head);
    for accept in ["*/*", "application/json", "text/html;q=0, */*"] {
        let reply = Reply::of(world.anonymous().request(Method::GET, "/").header("accept", accept)).await;
        assert_eq!(reply.header("vary"), Some("accept"));
        let start = reply.ok();
        let expected = json!({
            "name": "Core API", "version": env!("CARGO_PKG_VERSION"),
            "docs": "/docs", "openapi": "/openapi.json", "errors": "/errors", "health": "/health/live",
        });
        assert_eq!(start, expected);
        for member in ["docs", "openapi", "errors", "health"] {
            assert_eq!(world.anonymous().get(start[member].as_str().expect("a path")).await.status, 200, "{member}");
        }
    }
}

#[tokio::test]
async fn a_slash_after_the_address_of_a_page_leads_to_the_page() {
    let world = World::new().await;
    for (slip, page) in [("/docs/", "/docs"), ("/errors/", "/errors")] {
        let answer = get(&world, slip, "").await;
        assert_eq!(answer.status, 308, "{slip}");
        assert!(answer.head.contains(&format!("\r\nlocation: {page}\r\n")), "{}", answer.head);
    }
}

#[tokio::test]
async fn the_sandbox_says_where_the_page_is() {
    let database = Database::new().await;
    let mut process = Process::start(core_api_on(&database).stdout(Stdio::piped()));
    let lines = BufReader::new(process.stdout.take().expect("piped output")).lines();
    let mut greeting = lines.map(|line| line.expect("text")).take_while(|line| !line.starts_with("Ctrl-C"));
    let address = greeting.find(|line| line.ends_with("/docs")).expect("a line with the address");
    let address = address.split(' ').next_back().expect("an address");
    assert!(reqwest::get(address).await.expect("an answer").text().await.expect("a page").contains("<title>Core API reference</title>"));
}

#[tokio::test]
async fn a_browser_keeps_the_files_and_asks_whether_they_are_current() {
    let world = World::new().await;
    let client = world.anonymous();
    let mut tags = Vec::new();
    for path in ["/docs", "/docs/docs.css", "/docs/docs.js", "/docs/swagger-ui.css", BUNDLE] {
        let first = client.get(path).await;
        assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let tag = first.header("etag").expect("an entity tag").to_owned();
        for (known, status) in [(tag.as_str(), 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200), ("", 200)] {
            let again = Reply::of(client.request(Method::GET, path).header("if-none-match", known)).await;
            assert_eq!((again.status, again.header("etag")), (status, Some(tag.as_str())), "{path} with {known}");
            assert_eq!(again.header("cache-control"), Some("no-cache"));
            assert_eq!(again.text.is_empty(), status == 304);
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 5, "{tags:?}");
    // Everything else is stored nowhere.
    for path in ["/openapi.json", "/errors", "/docs/nothing"] {
        assert_eq!(client.get(path).await.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_take_gzip_gets_the_plain_file() {
    let world = World::new().await;
    let client = world.anonymous();
    let mut tags = Vec::new();
    for (accepted, coding) in
        [(None, Some("gzip")), (Some("br, GZIP;q=0.5"), Some("gzip")), (Some("identity"), None), (Some("gzip;q=0"), None)]
    {
        let request = client.request(Method::GET, BUNDLE);
        let request = match accepted {
            Some(accepted) => request.header("accept-encoding", accepted),
            None => request,
        };
        let reply = Reply::of(request).await;
        assert_eq!((reply.header("content-encoding"), reply.header("vary")), (coding, Some("accept-encoding")), "{accepted:?}");
        assert_eq!(reply.text.contains("SwaggerUIBundle"), coding.is_none(), "{accepted:?}");
        tags.push(reply.header("etag").expect("an entity tag").to_owned());
    }
    assert!(tags[0] == tags[1] && tags[2] == tags[3] && tags[1] != tags[2], "{tags:?}");
}
