//! SIGKILL at calls into the file system: nothing is lost, and the next start completes the work.

use tests::requires;

use super::batch::{Batch, Before, Holds, Target};
use super::calls::{self, Point};
use super::{NEEDS, random, try_each};

/// Dies at `point` of a boot; answers whether it got that far.
fn dies_at(batch: &Batch, name: &str, point: &Point) -> bool {
    let home = batch.home(name);
    let boot = batch.boot(calls::inject(batch.run(&home), point, "signal=SIGKILL"));
    for target in Target::all() {
        let holds = batch.holds(&home, target);
        let whole = match target.before() {
            Before::Nothing => [Holds::Nothing, Holds::New].contains(&holds),
            Before::File => [Holds::Old, Holds::New].contains(&holds),
            // Rewritten in place it may be torn until the next start.
            Before::Linked => holds != Holds::Nothing,
        };
        assert!(whole, "{point:?}: {target:?} holds {holds:?}");
    }
    batch.completes(&home);
    std::fs::remove_dir_all(&home).unwrap();
    boot.exit.signal == Some(9)
}

fn dies_at_each(points: &[Point]) {
    let (reached, all) = (try_each(points, dies_at), points.len());
    // A thread more or less shifts a count; a matrix that no longer meets its points has to be seen.
    assert!(reached * 10 >= all * 9, "only {reached} of {all} points were reached");
}

#[test]
fn a_hundred_deaths_lose_nothing() {
    if !requires("a_hundred_deaths_lose_nothing", &NEEDS) {
        return;
    }
    let mut points = calls::record(&Batch::new());
    assert!(points.len() > 100, "{points:?}");
    random().shuffle(&mut points);
    dies_at_each(&points[..100]);
}

#[test]
#[ignore = "long: every call of a batch of fifty"]
fn a_death_at_every_call_loses_nothing() {
    if !requires("a_death_at_every_call_loses_nothing", &NEEDS) {
        return;
    }
    let points = calls::record(&Batch::new());
    eprintln!("{} points", points.len());
    dies_at_each(&points);
}
