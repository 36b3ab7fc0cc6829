//! How the log tells that there is no connection.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::failure::Failure;
use super::words::printable;
use crate::errors::chain;

/// Keeps the log readable while the server is away: the first of equal failures is a warning, the rest are not.
#[derive(Default)]
pub(super) struct Trouble {
    last: Option<String>,
}

impl Trouble {
    pub(super) fn failed(&mut self, failure: &Failure, pause: Duration) -> String {
        let text = printable(&chain(failure));
        if self.last.as_deref() == Some(&text) {
            debug!("{text}; next attempt in {pause:?}");
        } else {
            warn!("{text}; {}; trying again until it works", failure.advice());
        }
        self.last = Some(text.clone());
        text
    }

    pub(super) fn over(&mut self, server: &str) {
        info!("connected to {server}");
        self.last = None;
    }
}
