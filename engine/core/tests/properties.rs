//! What the core claims, and attempts to break it.
//!
//! Every claim is a checker: a function from what happened to `Ok` or a sentence that says what
//! went wrong. A property runs the checker on the real machine with random inputs
//! (`PROPTEST_CASES` of them); beside it stands a test that runs the same checker on a machine with
//! a seeded defect and demands that it is noticed. Cases that once failed are kept in
//! `properties.regressions` and tried first.

#[path = "properties/churn.rs"]
mod churn;
#[path = "properties/complete_input.rs"]
mod complete_input;
#[path = "properties/fairness.rs"]
mod fairness;
#[path = "properties/first_fetch.rs"]
mod first_fetch;
#[path = "properties/lag_proportional.rs"]
mod lag_proportional;
#[path = "properties/memory.rs"]
mod memory;
#[path = "properties/migration.rs"]
mod migration;
#[path = "properties/mode.rs"]
mod mode;
#[path = "properties/offsets.rs"]
mod offsets;
#[path = "properties/pressure.rs"]
mod pressure;
#[path = "properties/priority.rs"]
mod priority;
#[path = "properties/quarantine.rs"]
mod quarantine;
#[path = "properties/quota.rs"]
mod quota;
#[path = "properties/reference.rs"]
mod reference;
#[path = "properties/refusal.rs"]
mod refusal;
#[path = "properties/workload.rs"]
mod workload;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// What a checker answers.
type Verdict = Result<(), String>;

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties.regressions");

/// The real machine: the claim must hold for every input.
fn holds<S: Strategy>(inputs: &S, check: impl Fn(&S::Value) -> Verdict) {
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    };
    let result = TestRunner::new(config).run(inputs, |input| check(&input).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A machine with a defect: some input must give it away.
///
/// It must be the checker that does: a panic of the broken machine fails the test.
fn catches<S: Strategy>(defect: &str, inputs: &S, check: impl Fn(&S::Value) -> Verdict) {
    // Fixed seed, so that this cannot pass by luck on one day only. It ends at the first catch, and
    // every defect here is caught within a few hundred cases.
    const TRIES: u32 = 2_000;
    let mut runner = TestRunner::deterministic();
    let noticed = (0..TRIES).any(|_| {
        let input = inputs.new_tree(&mut runner).expect("no input is rejected").current();
        check(&input).is_err()
    });
    assert!(noticed, "the checker did not notice: {defect}");
}
