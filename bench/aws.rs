//! Amazon's agent against a stand-in for Amazon.

use std::net::TcpListener;

use tests::{LONG, Process, wait_until};

use crate::world::World;

const SECRETS: usize = 50;
/// It answers only who knows this.
const TOKEN: &str = "bench";

/// The agent with 50 secrets in its cache, and the server that it asked; `None` where one of the two is not installed.
pub fn idle(world: &World) -> Option<(Process, Process)> {
    let (agent, moto) = (world.peers.get("aws_secretsmanager_agent").ok()?, world.peers.get("moto").ok()?);
    let (server_port, agent_port) = (free_port(), free_port());
    let url = format!("http://127.0.0.1:{server_port}");
    let server =
        world.env.program(&moto.program).args(["-H", "127.0.0.1", "-p", &server_port.to_string()]).spawn("moto");
    let config = format!(
        "region = \"us-east-1\"\nvalidate_credentials = false\nhttp_port = {agent_port}\nlog_to_file = false\n"
    );
    let config = world.env.write("aws.toml", config);
    let run = world.env.program(&agent.program).arg("--config").arg(config).env("AWS_TOKEN", TOKEN);
    let agent = run
        .env("AWS_ENDPOINT_URL", &url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "stand-in")
        .env("AWS_SECRET_ACCESS_KEY", "stand-in")
        .spawn("aws");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    // It speaks plain http here, but is not to be had without a provider of TLS; another may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(LONG).build().expect("make a client");
    for number in 0..SECRETS {
        let create = || {
            let body = format!(
                "{{\"Name\":\"secret-{number}\",\"SecretString\":\"value\",\"ClientRequestToken\":\"{number:032}\"}}"
            );
            let request = client.post(&url).header("Content-Type", "application/x-amz-json-1.1").body(body);
            // Moto tells services apart by the scope of the signature, which it does not check.
            let scope = "AWS4-HMAC-SHA256 Credential=stand-in/20260101/us-east-1/secretsmanager/aws4_request";
            let request = request.header("Authorization", scope);
            request.header("X-Amz-Target", "secretsmanager.CreateSecret")
        };
        wait_until("moto to keep a secret", LONG, || runtime.block_on(succeeds(create())));
        let read = || {
            let url = format!("http://127.0.0.1:{agent_port}/secretsmanager/get?secretId=secret-{number}");
            client.get(url).header("X-Aws-Parameters-Secrets-Token", TOKEN)
        };
        wait_until("Amazon's agent to hand out a secret", LONG, || runtime.block_on(succeeds(read())));
    }
    Some((agent, server))
}

async fn succeeds(request: reqwest::RequestBuilder) -> bool {
    request.send().await.is_ok_and(|reply| reply.status().is_success())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}
