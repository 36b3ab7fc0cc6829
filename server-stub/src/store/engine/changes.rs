//! What committed changes mean to connected agents, as one stream whoever makes them: this process, or another one on the database.

use tokio::sync::broadcast::{self, error::RecvError};
use uuid::Uuid;

/// Changes that a slow receiver may be behind. One that is further behind is told [`Change::Any`].
const BACKLOG: usize = 1024;

/// A committed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Of what the owner's agents get: their secrets.
    Owner(Uuid),
    /// Of the definition of a workspace, its agents or their tokens.
    Workspace(Uuid),
    /// Of something that every agent gets.
    Deployment,
    /// Of the key file: whoever has keys reads them again and says which it has.
    Keys,
    /// Anything may have changed, in another process or unnoticed: compare what you need.
    Any,
}

/// Where changes are published.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    sender: broadcast::Sender<Change>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }
}

impl Publisher {
    /// Publishes what a commit has made true.
    pub(super) fn publish(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            // Fails if nobody listens, as in an administrator's command.
            let _ = self.sender.send(change);
        }
    }

    pub(super) fn subscribe(&self) -> ChangeStream {
        ChangeStream { receiver: self.sender.subscribe() }
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }
}

/// Changes, in the order of their commits in this process; those of other processes within 250 ms.
#[derive(Debug)]
pub struct ChangeStream {
    receiver: broadcast::Receiver<Change>,
}

impl ChangeStream {
    /// The next change; none once the store is closed.
    pub async fn next(&mut self) -> Option<Change> {
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => Some(Change::Any),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Change {
    /// The change as a word of a notification.
    pub(super) fn encode(self) -> String {
        match self {
            Self::Owner(id) => format!("o{}", id.simple()),
            Self::Workspace(id) => format!("w{}", id.simple()),
            Self::Deployment => "d".into(),
            Self::Keys => "k".into(),
            Self::Any => "a".into(),
        }
    }

    /// A word that a newer version sends is [`Change::Any`].
    pub(super) fn decode(word: &str) -> Self {
        let id = |text: &str| Uuid::try_parse(text).ok();
        match (word.get(..1), word.get(1..).and_then(id)) {
            (Some("o"), Some(id)) => Self::Owner(id),
            (Some("w"), Some(id)) => Self::Workspace(id),
            (Some("d"), _) => Self::Deployment,
            (Some("k"), _) => Self::Keys,
            _ => Self::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_is_behind_is_told_to_compare() {
        let publisher = Publisher::default();
        let mut stream = publisher.subscribe();
        publisher.publish((0..=BACKLOG as u128).map(|n| Change::Owner(Uuid::from_u128(n))));
        assert_eq!(stream.next().await, Some(Change::Any));
        assert_eq!(stream.next().await, Some(Change::Owner(Uuid::from_u128(1))));
    }

    #[test]
    fn words_of_notifications() {
        let id = Uuid::from_u128(7);
        for change in [Change::Owner(id), Change::Workspace(id), Change::Deployment, Change::Keys, Change::Any] {
            assert_eq!(Change::decode(&change.encode()), change);
        }
        for unknown in ["", "o", "oxyz", "ünknown", "x1"] {
            assert_eq!(Change::decode(unknown), Change::Any);
        }
    }
}
