//! `/docs`: the page and the files that it loads.

use crate::support::World;

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
    assert_eq!((scripts.len(), styles.len()), (2, 2), "{scripts:?} {styles:?}");
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
    for path in ["/docs/index.html", "/docs/swagger-initializer.js", "/docs/..%2Fdocs.rs", "/docs/%FF", "/docs/a/b", "/docs/"] {
        world.anonymous().get(path).await.problem(404, "route_not_found");
    }
}
