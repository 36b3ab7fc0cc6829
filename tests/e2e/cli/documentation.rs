//! Every command line of Coder's user-secrets page, as typed.

use super::World;

const PAGE: &str = r#"
set -e
echo -n "$API_KEY" | coder secret create api-key \
  --description "API key for workspace tools" \
  --env API_KEY
coder secret create tool-config \
  --description "Tool configuration" \
  --file ~/.config/tool/config.json \
  < ./tool-config.json
echo -n "$TOKEN" | coder secret create service-token \
  --description "Service token for workspace tools" \
  --env SERVICE_TOKEN \
  --file ~/.config/service/token
coder secret delete api-key --yes
coder secret create api-key \
  --value "$API_KEY" \
  --description "API key for workspace tools" \
  --env API_KEY
coder secret delete api-key --yes
echo -n "$API_KEY" | coder secret create api-key --env API_KEY
# Update a secret value.
echo -n "$NEW_API_KEY" | coder secret update api-key
# Change the environment variable target.
coder secret update api-key --env NEW_API_KEY
# Clear the file injection target while keeping the secret.
coder secret update api-key --file ""
coder secret update service-token --file ""
# List all of your secrets.
coder secret list
# Show a single secret by name.
coder secret list api-key
"#;

#[test]
fn every_command_works_as_typed() {
    let world = World::new();
    world.env.write("tool-config.json", "{}\n");
    let directory = tests::binaries().coder.parent().unwrap().display().to_string();
    let run = world
        .env
        .program("/bin/bash")
        .args(["-c", PAGE])
        .env("PATH", format!("{directory}:/usr/bin:/bin"))
        .env("CODER_URL", world.server.url())
        .env("CODER_SESSION_TOKEN", &world.alice.token)
        .env("API_KEY", world.env.canary("api key"))
        .env("NEW_API_KEY", world.env.canary("new api key"))
        .env("TOKEN", world.env.canary("token"));
    let _ = run.run().success().says("Created secret tool-config.").says("Updated secret service-token.");
    assert_eq!(world.alice.names(), ["api-key", "service-token", "tool-config"]);
    assert_eq!(world.alice.stored("api-key")["env_name"], "NEW_API_KEY");
    assert_eq!(world.alice.stored("service-token")["file_path"], "");
    let expanded = world.env.home().join(".config/tool/config.json");
    assert_eq!(world.alice.stored("tool-config")["file_path"], expanded.to_str().unwrap());
    let deleted = world.alice.coder(["secret", "delete", "api-key"]).terminal("yes\n").run().success();
    let _ = deleted.says("Deleted secret api-key at ");
}
