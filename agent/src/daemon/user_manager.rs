//! The user's service manager keeps the environment that it asked for when it started. After a change it has to ask again.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::secret::Secret;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::errors::chain;
use crate::sys::spawn::Launch;

/// Changes that come closer together than this are one for the manager: it reads all of its units each time.
const PAUSE: Duration = Duration::from_millis(500);
/// Its generators may take 2 s each.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the manager is, and whether it has to ask.
pub(super) struct UserManager {
    runtime_dir: PathBuf,
    path: OsString,
    changed: Notify,
}

impl UserManager {
    /// `inherited` is what the agent was started with.
    pub(super) fn new(inherited: &[(OsString, OsString)]) -> Self {
        let variable = |name: &str| inherited.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let of_user = || PathBuf::from(format!("/run/user/{}", nix::unistd::geteuid()));
        Self {
            runtime_dir: variable("XDG_RUNTIME_DIR").map_or_else(of_user, PathBuf::from),
            path: variable("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
            changed: Notify::new(),
        }
    }

    /// Variables have changed.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Has the manager ask after each change, one time for several.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            self.changed.notified().await;
            // Its private socket, over which only the user reaches it. It is no disk, so a look at it does not hang.
            if self.runtime_dir.join("systemd/private").exists() {
                self.reload().await;
            } else {
                debug!("no user service manager runs that has to be told of changed variables");
            }
            sleep(PAUSE).await;
        }
    }

    async fn reload(&self) {
        let mut launch = Launch::new("systemctl");
        launch.arguments = ["--user", "--quiet", "daemon-reload"].map(OsString::from).to_vec();
        launch.environment = [("PATH", &self.path), ("XDG_RUNTIME_DIR", &self.runtime_dir.clone().into())]
            .map(|(name, value)| (name.into(), Secret::new(value.as_bytes().to_vec())))
            .into();
        let mut child = match launch.spawn().await {
            Ok(child) => child,
            Err(error) => return warn!("user services keep the old variables: {}", chain(&error)),
        };
        match timeout(LIMIT, child.process.wait()).await {
            Ok(Ok(status)) if status.success() => info!("user services get the changed variables at their next start"),
            Ok(Ok(status)) => warn!("user services keep the old variables: systemctl --user daemon-reload: {status}"),
            Ok(Err(error)) => warn!(%error, "cannot wait for systemctl --user daemon-reload"),
            Err(_) => {
                warn!("user services keep the old variables: systemctl --user daemon-reload takes more than {LIMIT:?}");
                if let Err(error) = child.signal(Signal::SIGKILL) {
                    warn!(%error, "cannot end systemctl");
                }
                // A moment after that at most; otherwise it would stay as a zombie.
                let _ = child.process.wait().await;
            }
        }
    }
}
