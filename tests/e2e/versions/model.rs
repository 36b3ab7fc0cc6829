//! A model of Coder's REST API of user secrets, as several of its versions have it. It shares no code with the product.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// A version of Coder, by what its API can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// No user secrets at all.
    WithoutSecrets,
    /// Secrets, but no import and no `enabled`.
    WithoutBatch,
    /// No `enabled`.
    WithoutEnabled,
    /// All that the command line can ask for.
    Whole,
    /// Fields and words that nobody knows today.
    Future,
}

impl Version {
    /// Every version that stores secrets.
    pub const STORING: [Self; 4] = [Self::WithoutBatch, Self::WithoutEnabled, Self::Whole, Self::Future];

    pub fn name(self) -> &'static str {
        match self {
            Self::WithoutSecrets => "v2.30.0",
            Self::WithoutBatch => "v2.34.0",
            Self::WithoutEnabled => "v2.36.0",
            Self::Whole => "v2.37.0",
            Self::Future => "v3.0.0-beta.1+quantum",
        }
    }

    fn knows_enabled(self) -> bool {
        matches!(self, Self::Whole | Self::Future)
    }
}

/// What happens to the answer of a request that changes something, and whether the server has acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Acted; the body is no JSON.
    Unreadable,
    /// Acted; the body is JSON with none of the fields.
    OtherFields,
    /// Acted; the connection ends within the body.
    CutBody,
    /// Acted; the connection ends before the answer.
    Cut,
    /// Acted; a proxy answers 504 with a page.
    GatewayTimeout,
    /// Acted; the server then fails, and says so in JSON.
    FailsAfterwards,
    /// Not acted; a proxy answers 502 with a page.
    BadGateway,
    /// Not acted; the connection ends before the answer.
    CutBefore,
    /// Not acted; a portal answers 200 with its page.
    SignInPage,
    /// Not acted; a portal answers 200 with its JSON.
    SignInJson,
    /// Not acted; a firewall answers 403 with its page.
    Forbidden,
    /// Not acted; a proxy sends elsewhere.
    Redirect,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Unreadable,
        Self::OtherFields,
        Self::CutBody,
        Self::Cut,
        Self::GatewayTimeout,
        Self::FailsAfterwards,
        Self::BadGateway,
        Self::CutBefore,
        Self::SignInPage,
        Self::SignInJson,
        Self::Forbidden,
        Self::Redirect,
    ];

    fn acts(self) -> bool {
        use Fault::{Cut, CutBody, FailsAfterwards, GatewayTimeout, None, OtherFields, Unreadable};
        matches!(self, None | Unreadable | OtherFields | CutBody | Cut | GatewayTimeout | FailsAfterwards)
    }
}

/// A stored secret: its fields, with the value among them.
pub type Secrets = BTreeMap<String, Map<String, Value>>;

#[derive(Default)]
struct State {
    secrets: Secrets,
    fault: Option<Fault>,
    requests: Vec<String>,
}

/// The running model.
pub struct Model {
    pub url: String,
    version: Version,
    state: Arc<Mutex<State>>,
}

impl Model {
    pub fn new(version: Version) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(client, version, &shared));
            }
        });
        Self { url, version, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sets what happens to every change from now on.
    pub fn set(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// Starts over with one secret, `old`.
    pub fn reset(&self) {
        let mut fields = Map::from_iter([
            ("value".to_owned(), json!("old value")),
            ("env_name".to_owned(), json!("OLD")),
            ("file_path".to_owned(), json!("")),
            ("description".to_owned(), json!("")),
        ]);
        if self.version.knows_enabled() {
            fields.insert("enabled".into(), json!(true));
        }
        let mut state = self.lock();
        state.secrets = Secrets::from([("old".to_owned(), fields)]);
        state.requests.clear();
    }

    pub fn clear(&self) {
        self.lock().secrets.clear();
    }

    pub fn secrets(&self) -> Secrets {
        self.lock().secrets.clone()
    }

    /// Method and path of every request since [`Model::reset`].
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }
}

struct Reply {
    status: u16,
    body: Value,
}

fn reply(status: u16, body: Value) -> Reply {
    Reply { status, body }
}

fn no(status: u16, message: &str) -> Reply {
    reply(status, json!({ "message": message }))
}

fn serve(mut client: TcpStream, version: Version, state: &Mutex<State>) {
    let _ = client.set_read_timeout(Some(Duration::from_secs(10)));
    let Some((method, path, body)) = request(&mut client) else { return };
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {path}"));
    let fault = if method == "GET" { Fault::None } else { state.fault.unwrap_or(Fault::None) };
    let answered =
        if fault.acts() { answer(version, &mut state.secrets, &method, &path, &body) } else { no(500, "never sent") };
    drop(state);
    let _ = client.write_all(&bytes(version, fault, &answered));
}

fn request(client: &mut TcpStream) -> Option<(String, String, Value)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    Some((method, path, serde_json::from_slice(&body).unwrap_or_default()))
}

fn answer(version: Version, secrets: &mut Secrets, method: &str, path: &str, body: &Value) -> Reply {
    let below = path.strip_prefix("/api/v2/users/me/secrets").filter(|_| version != Version::WithoutSecrets);
    match (method, below) {
        (_, None) => no(404, "Route not found."),
        ("GET", Some("")) => reply(200, secrets.keys().map(|name| shown(version, secrets, name)).collect()),
        ("POST", Some("")) => create(version, secrets, body.as_object().unwrap()),
        ("POST", Some("/batch")) if version != Version::WithoutBatch => import(version, secrets, body),
        ("GET" | "PATCH" | "DELETE", Some(name)) => one(version, secrets, method, &name[1..], body),
        _ => reply(405, Value::Null),
    }
}

fn shown(version: Version, secrets: &Secrets, name: &str) -> Value {
    let mut fields = secrets[name].clone();
    fields.remove("value");
    fields.insert("name".into(), json!(name));
    fields.insert("id".into(), json!("00000000-0000-4000-8000-000000000000"));
    for time in ["created_at", "updated_at"] {
        fields.insert(time.into(), json!("2026-01-01T00:00:00.5Z"));
    }
    if version == Version::Future {
        fields.insert("entangled_with".into(), json!([{ "kind": "quark", "spin": 0.5 }]));
        fields.insert("description".into(), Value::Null);
        fields.remove("id");
    }
    Value::Object(fields)
}

fn create(version: Version, secrets: &mut Secrets, body: &Map<String, Value>) -> Reply {
    let name = body["name"].as_str().unwrap().to_owned();
    if secrets.contains_key(&name) {
        let words = if version == Version::Future { "Taken." } else { "name already in use" };
        return reply(
            409,
            json!({ "message": "Validation failed.", "validations": [{ "field": "name", "detail": words }] }),
        );
    }
    let field = |name: &str, default: Value| body.get(name).cloned().unwrap_or(default);
    let mut fields = Map::new();
    for name in ["value", "env_name", "file_path", "description"] {
        fields.insert(name.into(), field(name, json!("")));
    }
    if version.knows_enabled() {
        fields.insert("enabled".into(), field("enabled", json!(true)));
    }
    secrets.insert(name.clone(), fields);
    reply(201, shown(version, secrets, &name))
}

fn import(version: Version, secrets: &mut Secrets, body: &Value) -> Reply {
    let content = body["content"].as_str().unwrap();
    let pairs: Vec<(String, Value)> = match body["format"].as_str().unwrap() {
        "json" => serde_json::from_str::<Map<_, _>>(content).unwrap().into_iter().collect(),
        _ => content.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), json!(v))).collect(),
    };
    if pairs.iter().any(|(name, _)| secrets.contains_key(name)) {
        return no(409, "Some secrets already exist.");
    }
    let made = pairs.into_iter().map(|(name, value)| {
        let request = json!({ "name": name, "value": value, "env_name": name });
        create(version, secrets, request.as_object().unwrap()).body
    });
    reply(201, made.collect())
}

fn one(version: Version, secrets: &mut Secrets, method: &str, name: &str, body: &Value) -> Reply {
    let known = |field: &str| field != "enabled" || version.knows_enabled();
    let changes: Vec<_> = body.as_object().into_iter().flatten().filter(|(field, _)| known(field)).collect();
    if method == "PATCH" && changes.is_empty() {
        return no(400, "At least one field must be provided.");
    }
    let Some(fields) = secrets.get_mut(name) else {
        return no(404, "Resource not found or you do not have access to this resource");
    };
    match method {
        "DELETE" => {
            secrets.remove(name);
            reply(204, Value::Null)
        }
        "PATCH" => {
            fields.extend(changes.into_iter().map(|(field, value)| (field.clone(), value.clone())));
            reply(200, shown(version, secrets, name))
        }
        _ => reply(200, shown(version, secrets, name)),
    }
}

/// What goes over the wire.
fn bytes(version: Version, fault: Fault, answered: &Reply) -> Vec<u8> {
    const PAGE: &str = "text/html; charset=utf-8\r\nServer: a proxy";
    let json = format!("application/json; charset=utf-8\r\nX-Coder-Build-Version: {}", version.name());
    let body = match &answered.body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    // A fault of the answer is one of a success; a refusal goes out as it is.
    let fault = if fault.acts() && answered.status >= 400 { Fault::None } else { fault };
    let (status, kind, body, cut) = match fault {
        Fault::None if answered.status == 405 => (405, String::from("\r\nAllow: GET"), body, 0),
        Fault::None => (answered.status, json, body, 0),
        Fault::Unreadable => (answered.status, json, "{\"name\": <".to_owned(), 0),
        Fault::OtherFields => (answered.status, json, "{\"result\":{\"word\":\"entangled\"}}".to_owned(), 0),
        Fault::CutBody => (answered.status, json, "{\"na".to_owned(), 40),
        Fault::FailsAfterwards => (500, json, "{\"message\":\"Internal error.\"}".to_owned(), 0),
        Fault::GatewayTimeout => (504, PAGE.to_owned(), "<html>504</html>".to_owned(), 0),
        Fault::BadGateway => (502, PAGE.to_owned(), "<html>502</html>".to_owned(), 0),
        Fault::SignInPage => (200, PAGE.to_owned(), "<html>Sign in</html>".to_owned(), 0),
        Fault::SignInJson => (200, "application/json".to_owned(), "{\"sign\":\"in\"}".to_owned(), 0),
        Fault::Forbidden => (403, PAGE.to_owned(), "<html>Forbidden</html>".to_owned(), 0),
        Fault::Redirect => (307, "text/plain\r\nLocation: http://127.0.0.1:1/".to_owned(), String::new(), 0),
        Fault::Cut | Fault::CutBefore => return Vec::new(),
    };
    let body = if status == 204 { String::new() } else { body };
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len() + cut) };
    format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{length}Connection: close\r\n\r\n{body}").into_bytes()
}
