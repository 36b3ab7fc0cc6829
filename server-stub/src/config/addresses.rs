//! Addresses to listen on, and to be reached at.

use super::ConfigError;

/// Says what is missing before the system does, whose words are about names of hosts.
pub(super) fn listen(name: &'static str, text: String) -> Result<String, ConfigError> {
    let hint = match text.rsplit_once(':') {
        _ if text.contains("://") => "give HOST:PORT without http:// or https://".to_owned(),
        None if text.parse::<u16>().is_ok() => format!("give HOST:PORT: 127.0.0.1:{text} for this machine only"),
        None => format!("give HOST:PORT, such as {text}:7080"),
        Some(("", port)) => {
            format!("name the host: 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} for every network")
        }
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => {
            format!("put an IPv6 address in brackets, such as [{host}]:7080")
        }
        Some((_, port)) if port.parse::<u16>().is_err() => "the port is a number from 0 to 65535".to_owned(),
        Some(_) => return Ok(text),
    };
    Err(ConfigError::Listen { name, text, hint })
}

pub(super) fn access_url(text: Option<String>) -> Result<Option<String>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if host.is_none_or(str::is_empty) {
        let wanted = "a URL with http:// or https://";
        return Err(ConfigError::Malformed { name: "--access-url", text, wanted });
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}
