//! Random walks on the library and on a plain model of Linux.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use seccomp_tests::{generate, model};

#[test]
fn walks_end_where_the_model_does() {
    let steps = generate::campaign(40_000, "SECCOMP_MODEL_STEPS");
    let tally = model::check(&mut generate::seeded(), steps);
    tally.iter().for_each(|(what, count)| println!("{count:>9} {what}"));
    // What a walk must have met, or it says little.
    let met = |what: &str| tally.keys().any(|key| key == what);
    let wanted = [
        "install Ok",
        "install Err",
        "call Returned",
        "call Trapped",
        "call Gone",
        "call Asleep",
        "call Returned(-38)",
        "call Returned(-4095)",
        "waiting: Returned(-4)",
        "waiting: Returned(-38)",
        "waiting: Gone",
        "receive: Returned(0)",
        "receive: Returned(-2)",
        "send: Returned(0)",
        "send: Returned(-2)",
        "send: Returned(-115)",
        "addfd: Returned(3)",
        "addfd: Returned(9)",
        "id valid: Returned(0)",
    ];
    let missing: Vec<&str> = wanted.into_iter().filter(|what| !met(what)).collect();
    assert!(missing.is_empty() || steps < 40_000, "never met: {missing:?}");
}
