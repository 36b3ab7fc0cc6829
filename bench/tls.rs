//! What a server and its clients need for https.

use std::fs;

use tests::Env;

/// Where distributions have theirs.
const ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Paths of what a server and its clients need for https.
pub struct Files {
    pub key: String,
    pub certificate: String,
    /// The system's roots and the certificate.
    pub roots: String,
}

/// A certificate of our own, valid for a day or two.
pub fn files(env: &Env) -> Files {
    let (key, certificate) = (env.path("work/tls.key"), env.path("work/tls.crt"));
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let subject = [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let files = ["-keyout", &key, "-out", &certificate];
    let _ = env.program("/usr/bin/openssl").args(request).args(subject).args(files).run().success();
    let system = ROOTS.iter().find_map(|path| fs::read_to_string(path).ok()).expect("the system's roots");
    let ours = fs::read_to_string(&certificate).expect("the certificate");
    let roots = env.write("roots.pem", format!("{system}\n{ours}")).display().to_string();
    Files { key, certificate, roots }
}
