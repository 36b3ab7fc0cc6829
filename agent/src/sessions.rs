//! What every process that is started in the workspace waits for: its environment.
#![forbid(unsafe_code)]

use std::sync::Arc;

use tokio::sync::watch;

use crate::environment::Environment;

/// How far the workspace is.
#[derive(Clone, Debug)]
pub enum Workspace {
    /// The files are not written yet: nothing starts.
    Booting,
    /// Files and variables are there.
    Ready(Arc<Environment>),
    /// The secrets did not arrive in time; the user chose to go on without them.
    Degraded(Arc<Environment>, String),
}

/// Holds the current [`Workspace`] and lets any number of launches wait for it.
#[derive(Debug)]
pub struct Sessions(watch::Sender<Workspace>);

impl Default for Sessions {
    fn default() -> Self {
        Self(watch::Sender::new(Workspace::Booting))
    }
}

impl Sessions {
    /// What launches get from now on; processes that run keep what they have.
    pub fn publish(&self, workspace: Workspace) {
        self.0.send_replace(workspace);
    }

    /// The environment of a launch, as soon as there is one. The caller bounds the wait.
    pub async fn environment(&self) -> Arc<Environment> {
        let mut workspace = self.0.subscribe();
        loop {
            match &*workspace.borrow_and_update() {
                Workspace::Ready(environment) | Workspace::Degraded(environment, _) => return environment.clone(),
                Workspace::Booting => {}
            }
            if workspace.changed().await.is_err() {
                // Impossible while `self` is borrowed; and without an environment there is nothing to launch.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How far the workspace is now.
    #[must_use]
    pub fn current(&self) -> Workspace {
        self.0.borrow().clone()
    }
}
