//! The in-memory ssh-agent: lists one key beside those of the user's own agent, signs with it, and nothing else.
//!
//! Whoever connects must be a process of this user that descends from the one program the key is for, and that program
//! must still run. A host that ssh forwards the agent to sees the user's own keys only.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use super::fetch::{Key, SignError};
use super::wire::{self, Request};
use crate::sys::peer::Peer;

/// Connections at a time: one for ssh, one for each jump host, some to spare.
const MAX_CONNECTIONS: usize = 32;

/// What there is to offer.
#[derive(Clone, Debug)]
pub(super) enum Offer {
    /// Not known yet; who asks waits.
    Pending,
    /// This key.
    Key(Arc<Key>),
    /// Nothing: only the user's own agent answers.
    Nothing,
}

/// What all connections share.
pub(super) struct SshAgent {
    offer: watch::Receiver<Offer>,
    own_agent: Option<PathBuf>,
    listed: AtomicBool,
    signed: AtomicBool,
    failure: Mutex<Option<SignError>>,
}

impl SshAgent {
    /// Offers what `offer` will say, after the keys of the agent that listens at `own_agent`.
    pub(super) fn new(offer: watch::Receiver<Offer>, own_agent: Option<PathBuf>) -> Self {
        Self {
            offer,
            own_agent,
            listed: AtomicBool::new(false),
            signed: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Whether anybody asked for keys: ssh does when it has come as far as logging in.
    pub(super) fn was_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    /// Whether our key has signed: the other side has accepted it then.
    pub(super) fn has_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }

    /// Why our key did not sign when it was to.
    pub(super) fn take_failure(&self) -> Option<SignError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Answers the descendants of process `root`, until dropped.
    pub(super) async fn serve(self: &Arc<Self>, listener: &UnixListener, root: u32) -> Infallible {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            match listener.accept().await {
                Ok((stream, _)) if is_served(&stream, root) => {
                    let agent = Arc::clone(self);
                    tokio::spawn(async move {
                        if let Err(error) = agent.converse(stream).await {
                            debug!(%error, "a connection to the ssh-agent ended");
                        }
                        drop(place);
                    });
                }
                Ok(_) => debug!("refused a process that is not served"),
                // Out of descriptors, say. Whoever is refused by that has nothing to wait for; others come and go.
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut own = OwnAgent { path: self.own_agent.clone(), connection: None };
        let mut forwarded = false;
        while let Some(message) = wire::read(&mut stream).await? {
            let request = Request::parse(&message);
            // For good: the host at the other end could say anything from here on.
            forwarded |= request == Request::Forwarded;
            let ours = match &request {
                Request::List | Request::Sign { .. } if !forwarded => self.key().await,
                _ => None,
            };
            let answer = match (request, ours) {
                (Request::List, key) => {
                    self.listed.fetch_or(!forwarded, Ordering::Relaxed);
                    let theirs = own.ask(&wire::list()).await;
                    wire::identities(theirs.as_deref(), key.as_ref().map(|key| (key.public().blob(), "Coder")))
                }
                (Request::Sign { blob, data, flags }, Some(key)) if blob == key.public().blob() => {
                    self.sign(&key, data, flags).await
                }
                _ => own.ask(&message).await.unwrap_or_else(wire::failure),
            };
            wire::write(&mut stream, &answer).await?;
        }
        Ok(())
    }

    async fn key(&self) -> Option<Arc<Key>> {
        let mut offer = self.offer.clone();
        match &*offer.wait_for(|offer| !matches!(offer, Offer::Pending)).await.ok()? {
            Offer::Key(key) => Some(Arc::clone(key)),
            Offer::Pending | Offer::Nothing => None,
        }
    }

    async fn sign(&self, key: &Arc<Key>, data: Vec<u8>, flags: u32) -> Vec<u8> {
        match key.sign(data, flags).await {
            Ok(blob) => {
                self.signed.store(true, Ordering::Relaxed);
                wire::signature(&blob)
            }
            Err(error) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                wire::failure()
            }
        }
    }
}

fn is_served(stream: &UnixStream, root: u32) -> bool {
    let us = rustix::process::geteuid().as_raw();
    Peer::of(stream).is_ok_and(|peer| peer.uid == us && peer.descends_from(root))
}

/// The agent that the user has anyway. It is asked as if we were not there, also to add keys or to lock itself.
struct OwnAgent {
    path: Option<PathBuf>,
    connection: Option<UnixStream>,
}

impl OwnAgent {
    /// None where there is no such agent or it does not answer.
    async fn ask(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => UnixStream::connect(self.path.as_ref()?).await.ok()?,
        };
        wire::write(&mut connection, message).await.ok()?;
        let answer = wire::read(&mut connection).await.ok()??;
        self.connection = Some(connection);
        Some(answer)
    }
}

#[cfg(test)]
mod tests;
