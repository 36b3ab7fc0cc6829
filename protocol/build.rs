//! Compiles our own `agent.proto` and `live.proto` without an installed `protoc`.

/// Messages that carry secret values: their `Debug` is written by hand in `agent_api` and shows none.
const REDACTED: [&str; 2] = ["coder.agent.v2.Manifest", "coder.agent.v2.WorkspaceSecret"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let live = protox::compile(["live.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(live)?;
    let agent = protox::compile(["agent.proto"], ["proto"])?;
    prost_build::Config::new()
        .skip_debug(REDACTED)
        // Compiled above.
        .extern_path(".usersecrets.agent.v1", "crate::live")
        .compile_fds(agent)?;
    Ok(())
}
