//! What a template made besides agents, what is shown of it, and what the template needs of the owner.

use protocol::definition::{Definition, Item, RequiredSecret, Resource as Wanted};
use protocol::definitions::Revealed;
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Writing, command, insert, query, row};
use super::super::keys::KeyId;
use super::super::keys::sealed::RESOURCE_VALUE;
use super::super::{Doing, StoreError};
use super::Workspaces;

/// A resource of a workspace.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Stable while the workspace's resources do not change.
    pub id: Uuid,
    /// In Terraform's words.
    pub address: String,
    /// Its type.
    pub kind: String,
    /// Its name in the template.
    pub name: String,
    /// The module instance, or empty.
    pub module_path: String,
    /// Whether people are not shown it.
    pub hide: bool,
    /// An icon's address, or empty.
    pub icon: String,
    /// What a day of it costs.
    pub daily_cost: i64,
    /// What is shown of it.
    pub items: Vec<ResourceItem>,
}

/// Something shown of a resource.
#[derive(Clone, Debug)]
pub struct ResourceItem {
    /// For [`Workspaces::reveal`].
    pub id: Uuid,
    /// What it is called.
    pub key: String,
    /// The value; none if it is null or sensitive.
    pub value: Option<String>,
    /// Whether it is shown only when somebody asks for it alone.
    pub sensitive: bool,
}

row! {
    struct ResourceRow {
        id: Uuid,
        address: String,
        kind: String,
        name: String,
        module_path: String,
        hide: bool,
        icon: String,
        daily_cost: i64,
    }
}

row! {
    struct ItemRow {
        id: Uuid = "i.id",
        resource_id: Uuid = "i.resource_id",
        key: String = "i.key",
        value: Option<String> = "i.value",
        sensitive: bool = "i.sensitive",
        sealed: Option<Vec<u8>> = "i.sealed",
        sealed_key_id: Option<KeyId> = "i.sealed_key_id",
    }
}

row! {
    struct RequiredRow { env: String, file: String, help_message: String }
}

row! {
    struct RevealRow {
        owner_id: Uuid = "w.owner_id",
        path: String = "u.username || '/' || w.name",
        address: String = "r.address",
        key: String = "i.key",
        value: Option<String> = "i.value",
        sealed: Option<Vec<u8>> = "i.sealed",
        sealed_key_id: Option<KeyId> = "i.sealed_key_id",
    }
}

const RESOURCES: &str = "SELECT {columns} FROM workspace_resources WHERE workspace_id = ? ORDER BY position";
const ITEMS: &str = "SELECT {columns} FROM resource_items i JOIN workspace_resources r ON r.id = i.resource_id \
                     WHERE r.workspace_id = ? ORDER BY i.position";
const REQUIRED: &str = "SELECT {columns} FROM required_secrets WHERE workspace_id = ? ORDER BY position";

impl Workspaces<'_> {
    /// The resources of a workspace, in the order of their addresses, without sensitive values.
    pub async fn resources(&self, workspace: Uuid) -> Result<Vec<Resource>, StoreError> {
        let action = "read the resources of a workspace";
        let mut sql = self.0.snapshot().await.doing(action)?;
        let rows = sql.all(query::<ResourceRow>(RESOURCES).bind(workspace)).await.doing(action)?;
        let items = sql.all(query::<ItemRow>(ITEMS).bind(workspace)).await.doing(action)?;
        let mut resources: Vec<_> = rows.into_iter().map(Resource::from).collect();
        for row in items {
            let of = resources.iter_mut().find(|resource| resource.id == row.resource_id);
            let item = ResourceItem { id: row.id, key: row.key, value: row.value, sensitive: row.sensitive };
            if let Some(resource) = of {
                resource.items.push(item);
            }
        }
        Ok(resources)
    }

    /// What the template of a workspace needs of its owner.
    pub async fn required_secrets(&self, workspace: Uuid) -> Result<Vec<RequiredSecret>, StoreError> {
        let rows = self.0.all(query::<RequiredRow>(REQUIRED).bind(workspace)).await;
        Ok(rows.doing("read what a workspace needs")?.into_iter().map(RequiredSecret::from).collect())
    }

    /// The value of an item of a workspace, with a record of who asked; none where there is no such item.
    pub async fn reveal(&self, actor: Actor, workspace: Uuid, item: Uuid) -> Result<Option<Revealed>, StoreError> {
        self.0.write(move |writing| Box::pin(reveal(writing, actor, workspace, item))).await
    }
}

async fn reveal(
    writing: &mut Writing,
    actor: Actor,
    workspace: Uuid,
    item: Uuid,
) -> Result<Option<Revealed>, StoreError> {
    let find = query::<RevealRow>(
        "SELECT {columns} FROM resource_items i JOIN workspace_resources r ON r.id = i.resource_id \
         JOIN workspaces w ON w.id = r.workspace_id JOIN users u ON u.id = w.owner_id WHERE w.id = ? AND i.id = ?",
    );
    let row = writing.sql.optional(find.bind(workspace).bind(item)).await.doing("read a value of a resource")?;
    let Some(row) = row else { return Ok(None) };
    let value = match (&row.sealed, &row.sealed_key_id) {
        (Some(data), Some(key)) => Some(writing.unseal(key, &RESOURCE_VALUE.of(row.owner_id, item), data)?),
        _ => row.value.map(Secret::from),
    };
    let target = format!("{} {}/{}", row.path, row.address, row.key);
    audit::insert(writing, Record::new(actor, "reveal", "resource_metadata").on(workspace, &target)).await?;
    Ok(Some(Revealed { value }))
}

/// Makes a workspace have the resources and requirements of its definition, and adds what it changed to `changes`.
pub(super) async fn keep(
    writing: &mut Writing,
    owner: Uuid,
    workspace: Uuid,
    wanted: &Definition,
    changes: &mut Vec<String>,
) -> Result<(), StoreError> {
    let action = "keep the resources of a workspace";
    let rows = writing.sql.all(query::<ResourceRow>(RESOURCES).bind(workspace)).await.doing(action)?;
    let items = writing.sql.all(query::<ItemRow>(ITEMS).bind(workspace)).await.doing(action)?;
    let (known, before) = (rows.iter().map(|row| row.address.as_str()).collect::<Vec<_>>(), changes.len());
    for resource in &wanted.resources {
        match rows.iter().find(|row| row.address == resource.address) {
            None => changes.push(format!("resource {} added", resource.address)),
            Some(row) => {
                let of: Vec<_> = items.iter().filter(|item| item.resource_id == row.id).collect();
                if !row.is(resource) || !same_items(writing, owner, &of, &resource.items) {
                    changes.push(format!("resource {} changed", resource.address));
                }
            }
        }
    }
    let stays = |address: &str| wanted.resources.iter().any(|resource| resource.address == address);
    changes.extend(known.iter().filter(|known| !stays(known)).map(|gone| format!("resource {gone} removed")));
    if changes.len() > before {
        replace(writing, owner, workspace, &wanted.resources).await?;
    }
    let required = writing.sql.all(query::<RequiredRow>(REQUIRED).bind(workspace)).await.doing(action)?;
    let required: Vec<_> = required.into_iter().map(RequiredSecret::from).collect();
    if required != wanted.required_secrets {
        changes.push("required secrets changed".into());
        replace_required(writing, workspace, &wanted.required_secrets).await?;
    }
    Ok(())
}

fn same_items(writing: &Writing, owner: Uuid, rows: &[&ItemRow], items: &[Item]) -> bool {
    let same = |(row, item): (&&ItemRow, &Item)| {
        let stored = match (&row.sealed, &row.sealed_key_id) {
            (Some(data), Some(key)) => writing.unseal(key, &RESOURCE_VALUE.of(owner, row.id), data).map(Some),
            _ => Ok(row.value.clone().map(Secret::from)),
        };
        row.key == item.key && row.sensitive == item.sensitive && stored.is_ok_and(|stored| stored == item.value)
    };
    rows.len() == items.len() && rows.iter().zip(items).all(same)
}

async fn replace(writing: &mut Writing, owner: Uuid, workspace: Uuid, resources: &[Wanted]) -> Result<(), StoreError> {
    let action = "keep the resources of a workspace";
    let clear = command("DELETE FROM workspace_resources WHERE workspace_id = ?").bind(workspace);
    writing.sql.execute(clear).await.doing(action)?;
    for (position, resource) in (0_i64..).zip(resources) {
        let id = Uuid::new_v4();
        let insert = insert!("workspace_resources" {
            id: id,
            workspace_id: workspace,
            position: position,
            address: &resource.address,
            kind: &resource.kind,
            name: &resource.name,
            module_path: &resource.module_path,
            hide: resource.hide,
            icon: &resource.icon,
            daily_cost: resource.daily_cost,
        });
        writing.sql.execute(insert).await.doing(action)?;
        for (position, item) in (0_i64..).zip(&resource.items) {
            keep_item(writing, owner, id, position, item).await?;
        }
    }
    Ok(())
}

async fn keep_item(
    writing: &mut Writing,
    owner: Uuid,
    resource: Uuid,
    position: i64,
    item: &Item,
) -> Result<(), StoreError> {
    let id = Uuid::new_v4();
    let sealed = match &item.value {
        Some(value) if item.sensitive => Some(writing.seal(&RESOURCE_VALUE.of(owner, id), value.expose()).await?),
        _ => None,
    };
    let plain = item.value.as_ref().filter(|_| !item.sensitive).and_then(|value| value.expose_str().ok());
    let (data, key) = sealed.map(|sealed| (sealed.data, sealed.key)).unzip();
    let insert = insert!("resource_items" {
        id: id,
        resource_id: resource,
        position: position,
        key: &item.key,
        value: plain,
        sensitive: item.sensitive,
        sealed: data,
        sealed_key_id: key,
    });
    writing.sql.execute(insert).await.map(drop).doing("keep what is shown of a resource")
}

async fn replace_required(
    writing: &mut Writing,
    workspace: Uuid,
    required: &[RequiredSecret],
) -> Result<(), StoreError> {
    let action = "keep what a workspace needs";
    let clear = command("DELETE FROM required_secrets WHERE workspace_id = ?").bind(workspace);
    writing.sql.execute(clear).await.doing(action)?;
    for (position, required) in (0_i64..).zip(required) {
        let insert = insert!("required_secrets" {
            workspace_id: workspace,
            position: position,
            env: &required.env,
            file: &required.file,
            help_message: &required.help_message,
        });
        writing.sql.execute(insert).await.doing(action)?;
    }
    Ok(())
}

impl ResourceRow {
    fn is(&self, wanted: &Wanted) -> bool {
        self.kind == wanted.kind
            && self.name == wanted.name
            && self.module_path == wanted.module_path
            && self.hide == wanted.hide
            && self.icon == wanted.icon
            && self.daily_cost == wanted.daily_cost
    }
}

impl From<ResourceRow> for Resource {
    fn from(row: ResourceRow) -> Self {
        let ResourceRow { id, address, kind, name, module_path, hide, icon, daily_cost } = row;
        Self { id, address, kind, name, module_path, hide, icon, daily_cost, items: Vec::new() }
    }
}

impl From<RequiredRow> for RequiredSecret {
    fn from(RequiredRow { env, file, help_message }: RequiredRow) -> Self {
        Self { env, file, help_message }
    }
}
