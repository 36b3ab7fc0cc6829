//! New tokens for the agents of a workspace.

use protocol::definitions::AppliedAgent;
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Writing, command};
use super::super::keys::Claim;
use super::super::{Doing, StoreError, generations};
use super::identity;
use super::{Agents, Workspace};

impl Agents<'_> {
    /// Gives every agent of a workspace a new token. The old ones stop working at once.
    pub async fn rotate_tokens(&self, actor: Actor, workspace: &Workspace) -> Result<Vec<AppliedAgent>, StoreError> {
        let workspace = workspace.clone();
        self.0.write(move |writing| Box::pin(rotate(writing, actor, workspace))).await
    }
}

async fn rotate(writing: &mut Writing, actor: Actor, workspace: Workspace) -> Result<Vec<AppliedAgent>, StoreError> {
    let mut rotated = Vec::with_capacity(workspace.agents.len());
    for agent in &workspace.agents {
        let token = Uuid::new_v4();
        let hash = identity::hash(token);
        let claim = Claim::agent_token(agent.id, workspace.id, workspace.owner_id, &hash);
        let mac = writing.mac(&claim).await?;
        let set = command("UPDATE agents SET token_hash = ?, mac = ?, mac_key_id = ? WHERE id = ?");
        let set = set.bind(hash).bind(mac.data).bind(mac.key).bind(agent.id);
        if writing.sql.execute(set).await.doing("give an agent a new token")? > 0 {
            rotated.push(AppliedAgent { name: agent.name.clone(), token: Some(Secret::from(token.to_string())) });
        }
    }
    generations::grow_workspace(writing, workspace.id).await?;
    let tokens = |agent: &AppliedAgent| (format!("agent {} token", agent.name), serde_json::json!({ "secret": true }));
    let path = format!("{}/{}", workspace.owner_name, workspace.name);
    let record = Record::new(actor, "write", "workspace").on(workspace.id, &path);
    audit::insert(writing, record.diff(rotated.iter().map(tokens).collect())).await?;
    Ok(rotated)
}
