//! How long a command line keeps its user waiting.

use tests::binaries;

use crate::openbao::OpenBao;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::standin;
use crate::world::World;

pub fn measure(world: &mut World, report: &mut Report) {
    let coder = |what: &str, args: &str| {
        Contender::new(what, format!("{} {args}", binaries().coder.display()))
            .variable("CODER_URL", world.server.url())
            .variable("CODER_SESSION_TOKEN", &world.alice.token)
    };
    let mut contenders = vec![
        coder("`coder secret list`, 50 secrets", "secret list"),
        coder(
            "`coder secret update`, on the server's disk when it returns",
            "secret update variable-0 --description new",
        ),
        coder("`coder --version`", "--version"),
    ];
    let ours = contenders.len();
    if let Ok(doppler) = world.peers.get("doppler") {
        let secrets: Vec<_> = (0..50).map(|number| (format!("SECRET_{number}"), "value".to_owned())).collect();
        let flags = format!("--api-host {} --no-check-version --no-fallback --no-file", standin::serve(&secrets));
        let contender = doppler.contender(format!("{} secrets download {flags}", doppler.program));
        let contender = contender.variable("DOPPLER_TOKEN", "dp.st.stand-in");
        contenders.push(contender.named("`doppler secrets download`, 50 secrets of a stand-in"));
    }
    let bao = world.peers.get("bao").ok().map(|peer| OpenBao::start(&world.env, peer));
    contenders.extend(bao.iter().map(OpenBao::read));
    contenders.push(Contender::new("bare start of `true`", "true"));

    let figures = race(&world.env, &contenders);
    let mut section = Section::new("Command line", "ms");
    section
        .text("Ours lists what is known of the secrets; no command shows a value. What the others print are values.");
    for (index, (contender, figure)) in contenders.iter().zip(&figures).enumerate() {
        match index {
            _ if index < ours => section.ours(&contender.what, figure.clone()),
            _ if index + 1 == contenders.len() => section.limit(&contender.what, figure.clone()),
            _ => section.peer(&contender.what, figure.clone()),
        }
    }
    section.goal(Goal::at_most("`coder secret list` of 50: below 10 ms", figures[0].median, 10.0));
    report.add(section);
}
