//! What the service manager hears.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::{Env, Fault, Proxy, SHORT, wait_for, wait_until};

use super::World;

/// The other end of `NOTIFY_SOCKET`.
pub(super) struct Manager {
    path: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    pub(super) fn new(env: &Env) -> Self {
        let path = env.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let lines = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                lines.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        Self { path, heard }
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Every assignment so far, in order.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits for a status line that `fits`.
    #[track_caller]
    pub(super) fn wait_status(&self, fits: impl Fn(&str) -> bool) -> String {
        wait_for("a status line", SHORT, || {
            let heard = self.heard();
            heard.iter().filter_map(|line| line.strip_prefix("STATUS=")).find(|line| fits(line)).map(str::to_owned)
        })
    }

    #[track_caller]
    pub(super) fn wait(&self, line: &str) {
        wait_until(line, SHORT, || self.heard().iter().any(|heard| heard == line));
    }
}

#[test]
fn ready_comes_with_the_first_delivery_and_stopping_at_the_end() {
    let world = World::new();
    let manager = Manager::new(&world.env);
    world.alice.secret("key", &["--env", "KEY", "--file", "~/key"]);
    let workspace = world.workspace(json!({}));
    let mut agent = world.agent(&workspace).env("NOTIFY_SOCKET", manager.path()).start();
    manager.wait("READY=1");
    // Files are there before anybody who waits for the unit goes on.
    assert!(agent.home().join("key").exists());
    manager.wait_status(|status| status == "delivered 1 variable and 1 file");
    assert_eq!(agent.terminate().code, Some(0));
    manager.wait("STOPPING=1");
    assert_eq!(manager.heard().iter().filter(|line| *line == "READY=1").count(), 1);
}

/// A start that fails because a server is away would take the whole machine with it.
#[test]
fn without_a_server_ready_comes_all_the_same_and_the_status_says_why() {
    let world = World::new();
    let manager = Manager::new(&world.env);
    world.alice.secret("key", &["--file", "~/key"]);
    let workspace = world.workspace(json!({}));
    let proxy = Proxy::new(world.server.url());
    proxy.set(Fault::Refuse);
    let agent = world.env.agent(&proxy, &workspace).args(["--ready-after", "100ms"]);
    let agent = agent.env("NOTIFY_SOCKET", manager.path()).start();
    manager.wait("READY=1");
    let status = manager.wait_status(|status| status.contains("no connection: "));
    assert!(status.starts_with("waiting for the secrets; no connection: "), "{status}");
    proxy.set(Fault::None);
    manager.wait_status(|status| status == "delivered 0 variables and 1 file");
    assert!(agent.home().join("key").exists());
    proxy.set(Fault::Refuse);
    proxy.cut();
    manager.wait_status(|status| status.starts_with("delivered 0 variables and 1 file; no connection: "));
}
