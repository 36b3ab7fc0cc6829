//! What HTTP itself costs here: the same answers by the same library, with nothing behind them.

use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use protocol::rest::{UpdateUserSecretRequest, UserSecret};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Serves until the process is killed.
pub fn serve() {
    let runtime = tokio::runtime::Runtime::new().expect("make a runtime");
    runtime.block_on(async {
        let routes = get(async || Json(secret())).patch(async |Json(_): Json<UpdateUserSecretRequest>| Json(secret()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        println!("listening on {}", listener.local_addr().expect("an address"));
        axum::serve(listener, Router::new().route("/{*any}", routes)).await.expect("serve");
    });
}

fn secret() -> UserSecret {
    let now = Timestamp::now();
    UserSecret {
        id: Uuid::nil(),
        name: "secret-0".into(),
        description: String::new(),
        env_name: "SECRET_0".into(),
        file_path: String::new(),
        enabled: true,
        created_at: now,
        updated_at: now,
    }
}
