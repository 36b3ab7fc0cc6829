//! SIGTERM and SIGINT stop the server, a second one at once; SIGHUP makes it read its files again.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::tls::Identity;
use super::{ServeError, Server};
use crate::store::Store;

/// The signals of a server, caught from here on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, ServeError> {
        let catch = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    /// Runs `server` until a signal stops it.
    pub(super) async fn govern(self, server: Server) -> Result<(), ServeError> {
        let Self { mut terminate, mut interrupt, mut hangup } = self;
        let (store, identity) = (server.state().store.clone(), server.identity.clone());
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let orders = async move {
            stop_signal(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping; a second signal stops at once");
            drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
            // The server waits for the other end.
            drop(stopping);
            stop_signal(&mut terminate, &mut interrupt).await;
        };
        let reloads = async move {
            while hangup.recv().await.is_some() {
                reload(&store, identity.as_ref());
            }
            std::future::pending::<()>().await;
        };
        let stop = async {
            // An error: the sender is dropped, never used.
            drop(stopped.await);
        };
        tokio::select! {
            ended = server.run(stop) => ended,
            () = orders => Err(ServeError::Interrupted),
            () = reloads => Ok(()),
        }
    }
}

async fn stop_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Reads certificate and encryption keys again; what cannot be read leaves the server as it is.
fn reload(store: &Store, identity: Option<&Arc<Identity>>) {
    if let Some(identity) = identity {
        let cert = identity.files().cert.display();
        match identity.reload() {
            Ok(()) => tracing::info!(%cert, "reloaded the TLS certificate"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "cannot reload the TLS certificate; keeping the one in use");
            }
        }
    }
    let source = store.keys().source();
    match store.keys().reread() {
        Ok(()) => tracing::info!(%source, keys = store.keys().held().len(), "reloaded the encryption keys"),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "cannot reload the encryption keys; keeping those in use");
        }
    }
}
