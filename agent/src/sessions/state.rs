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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::environment::{Caller, Launched, Options};

    fn environment(value: &str) -> Arc<Environment> {
        let start = vec![("WHICH".into(), value.to_owned().into())];
        Arc::new(Environment::without_secrets(start, Options::default()))
    }

    async fn which(sessions: &Sessions) -> String {
        let resolved = sessions.environment().await.resolve(&Caller::Agent(Launched::Main, Vec::new()));
        let which = resolved.variables.iter().find(|variable| variable.name == "WHICH").unwrap();
        which.value.expose_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_launch_waits_for_the_first_environment_and_gets_the_latest() {
        let sessions = Arc::new(Sessions::default());
        assert!(sessions.environment().now_or_never().is_none());
        let waiting = tokio::spawn({
            let sessions = sessions.clone();
            async move { which(&sessions).await }
        });
        tokio::task::yield_now().await;
        sessions.publish(Workspace::Degraded(environment("without"), "late".into()));
        assert_eq!(waiting.await.unwrap(), "without");
        sessions.publish(Workspace::Ready(environment("first")));
        sessions.publish(Workspace::Ready(environment("second")));
        assert_eq!(which(&sessions).await, "second");
    }
}
