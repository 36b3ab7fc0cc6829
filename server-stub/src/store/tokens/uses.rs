//! Uses of tokens, which also move the end of sessions.

use jiff::Timestamp;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Writing, command};
use super::super::{Doing, StoreError, now};
use super::{Kind, LONGEST_SESSION, Tokens};

/// How long an expired token stays in lists.
const KEPT_MICROSECONDS: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// Uses of one token from one address since the last time they were recorded.
#[derive(Clone, Debug)]
pub struct TokenUse {
    /// Who.
    pub actor: Actor,
    /// Public id of the session token; none for an agent's.
    pub token_id: Option<String>,
    /// When last.
    pub last: Timestamp,
    /// How often.
    pub requests: u64,
}

impl Tokens<'_> {
    /// Records uses, all in one transaction.
    pub async fn record_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    for used in uses {
                        record_use(writing, used).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Forgets tokens that expired a week ago, and says how many they were.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let before = now().as_microsecond().saturating_sub(KEPT_MICROSECONDS);
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let purge = command("DELETE FROM session_tokens WHERE expires_at < ?").bind(before);
                    writing.sql.execute(purge).await.doing("forget expired tokens")
                })
            })
            .await
    }
}

async fn record_use(writing: &mut Writing, used: TokenUse) -> Result<(), StoreError> {
    if let Some(id) = &used.token_id {
        let update = command("UPDATE session_tokens SET last_used_at = ?, last_used_from = ? WHERE id = ?")
            .bind(used.last)
            .bind(used.actor.address().map(|address| address.to_canonical().to_string()))
            .bind(id);
        writing.sql.execute(update).await.doing("record the use of a token")?;
        slide(writing, id, used.last).await?;
    }
    let resource = if used.token_id.is_some() { "session_token" } else { "agent_token" };
    let target = used.token_id.as_deref().unwrap_or(used.actor.name()).to_owned();
    let record = Record::new(used.actor.clone(), "use", resource)
        .on(used.actor.id(), &target)
        .diff(serde_json::json!({ "requests": used.requests }));
    audit::insert(writing, record).await
}

/// A session that was used ends later, but no later than [`LONGEST_SESSION`] after the sign-in. One that was ended meanwhile stays so.
async fn slide(writing: &mut Writing, id: &str, used: Timestamp) -> Result<(), StoreError> {
    let longest = i64::try_from(LONGEST_SESSION.as_micros()).unwrap_or(i64::MAX);
    let slide = command(
        "UPDATE session_tokens SET expires_at = CASE WHEN lifetime + ?1 < created_at + ?2 THEN lifetime + ?1 \
           ELSE created_at + ?2 END \
         WHERE id = ?3 AND kind = ?4 AND lifetime > 0 AND expires_at > ?1",
    );
    let slide = slide.bind(used).bind(longest).bind(id).bind(Kind::Session.as_str());
    writing.sql.execute(slide).await.map(drop).doing("extend a session")
}
