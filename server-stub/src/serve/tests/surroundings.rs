//! What surrounds every route: who is let in, what a body may be, and what every answer has.

use axum::body::Bytes;
use serde_json::json;

use super::*;

fn raw(world: &World, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(SECRETS).header(SESSION_TOKEN_HEADER, &world.alice);
    let request = if kind.is_empty() { request } else { request.header(header::CONTENT_TYPE, kind) };
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn every_failure_of_authentication_has_the_same_answer() {
    let world = World::new().await;
    let mut answers = Vec::new();
    let unknown = format!("{}{}", &world.alice[..world.alice.len() - 4], "0000");
    for token in ["", "x", &unknown, &"y".repeat(75), "00000000-0000-0000-0000-000000000000"] {
        let answer = world.call(token, Method::GET, SECRETS, None).await.is(401);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    // Nobody known, nothing stored.
    assert_eq!(world.state.store.audit().newest(100).await.unwrap().len(), 4);
}

#[tokio::test]
async fn every_place_of_a_token_is_accepted() {
    let world = World::new().await;
    let token = &world.alice;
    for (uri, header) in [
        (SECRETS.to_owned(), Some(("Cookie", format!("coder_session_token={token}")))),
        (format!("{SECRETS}?coder_session_token={token}"), None),
        (SECRETS.to_owned(), Some(("Coder-Session-Token", token.clone()))),
        (SECRETS.to_owned(), Some(("Authorization", format!("Bearer {token}")))),
        (format!("{SECRETS}?access_token={token}"), None),
    ] {
        let mut request = Request::get(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        world.send(request.body(Body::empty()).unwrap()).await.is(200);
    }
}

#[tokio::test]
async fn logout_makes_the_token_useless() {
    let world = World::new().await;
    world.call(&world.alice, Method::POST, "/api/v2/users/logout", None).await.is(200);
    world.get(SECRETS).await.is(401);
    world.call(&world.bob, Method::GET, SECRETS, None).await.is(200);
}

#[tokio::test]
async fn a_caller_is_limited_by_who_it_is_and_an_address_by_its_failures() {
    let world = World::with(|settings| settings.rate_limit = 5).await;
    for _ in 0..5 {
        world.get(SECRETS).await.is(200);
    }
    let refused = world.get(SECRETS).await.is(429);
    assert!(refused.headers[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
    let stored = world.state.store.audit().newest(100).await.unwrap().len();
    world.get(SECRETS).await.is(429);
    assert_eq!(world.state.store.audit().newest(100).await.unwrap().len(), stored);
    let mut last = StatusCode::UNAUTHORIZED;
    for _ in 0..100 {
        last = world.call("wrong", Method::GET, SECRETS, None).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    world.call(&world.bob, Method::GET, SECRETS, None).await.is(200);
}

#[tokio::test]
async fn a_bad_body_is_refused_and_never_repeated() {
    let world = World::new().await;
    for (body, place) in [
        (r#"{"name": hunter2}"#, "line 1 column 10"),
        (r#"{"name": "n", "value": "hunter2""#, "line 1 column 32"),
        (r#"{"name": "n", "enabled": "hunter2"}"#, "line 1 column 34"),
        (r#"{"name": "n", "value": 8675309}"#, "line 1 column 30"),
        (r#"["hunter2"]"#, "an object is expected"),
        ("", "an object is expected"),
    ] {
        let refused = world.send(raw(&world, "application/json", body)).await.is(400);
        let text = refused.body.to_string();
        assert_eq!(refused.message(), "Request body must be valid JSON.");
        assert!(!text.contains("hunter2") && !text.contains("8675309"), "{text}");
        assert!(text.contains(place), "{text}");
    }
    let latin1 = Bytes::from_static(b"{\"name\": \"n\", \"value\": \"\xe9\"}");
    world.send(raw(&world, "application/json", latin1)).await.is(400);
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let world = World::new().await;
    let body = json!({ "name": "n", "value": "v" }).to_string();
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        world.send(raw(&world, kind, body.clone())).await.is(415);
    }
    world.send(raw(&world, "Application/JSON; charset=utf-8", body)).await.is(201);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let world = World::new().await;
    let long = "x".repeat(1024 * 1024 + 1);
    world.send(raw(&world, "application/json", long.clone())).await.is(413);
    let pieces = long.as_bytes().chunks(60_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let pieces: Vec<_> = pieces.collect();
    let streamed = Body::from_stream(futures_util::stream::iter(pieces));
    let refused = world.send(raw(&world, "application/json", streamed)).await.is(413);
    assert_eq!(refused.message(), "Request body must not exceed 1048576 bytes.");
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_json_with_the_version() {
    let world = World::new().await;
    let unknown = world.get("/nothing/here").await.is(404);
    assert_eq!(unknown.headers["x-coder-build-version"], concat!("v2.36.0+coder-server.", env!("CARGO_PKG_VERSION")));
    let wrong = world.call(&world.alice, Method::PUT, SECRETS, None).await.is(405);
    assert_eq!(wrong.headers[header::ALLOW], "GET,HEAD,POST");
    assert_eq!(wrong.headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
    let info = world.call("", Method::GET, "/api/v2/buildinfo", None).await.is(200);
    assert_eq!((&info.body["agent_api_version"], &info.body["telemetry"]), (&json!("1.0"), &json!(false)));
}

#[tokio::test]
async fn a_panic_is_answered_and_tells_nothing() {
    let mut world = World::new().await;
    let routes = Router::new().route("/panic", axum::routing::get(async || -> &'static str { panic!("hunter2") }));
    world.router = super::super::router::surround(routes, world.state.clone());
    let answer = world.get("/panic").await.is(500);
    assert_eq!(answer.body, json!({ "message": "Internal error." }));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
}

#[tokio::test]
async fn no_file_of_the_server_holds_a_value_or_a_token() {
    let world = World::new().await;
    let canary = "canary-3c9a41";
    world.create(json!({ "name": "n", "value": canary })).await.is(201);
    world.import("env", &format!("A={canary}")).await.is(201);
    world.patch("n", json!({ "value": format!("{canary}-2") })).await.is(200);
    let needles = [canary.as_bytes(), &world.alice.as_bytes()[11..]];
    for file in std::fs::read_dir(world.dir.path()).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(file.path()).unwrap();
        for needle in needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{:?}", file.path());
        }
    }
}
