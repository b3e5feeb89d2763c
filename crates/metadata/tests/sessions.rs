//! How long a broker may be silent.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, heartbeat, registration};
use metadata::controller::Command;
use wire::ErrorCode;

const SESSION_MS: i64 = 9_000;

/// The brokers that are fenced after a look at who is silent.
fn fenced(cluster: &mut Decider) -> Vec<i32> {
    // One look fences one broker.
    for _ in 0..4 {
        cluster.ask(Command::Tick);
    }
    cluster.image().cluster.brokers().filter(|broker| broker.fenced).map(|broker| broker.id).collect()
}

#[test]
fn a_controller_that_was_frozen_gives_every_broker_a_session_to_be_heard() {
    let mut cluster = Decider::new(&[]).with_brokers(3);
    cluster.wait(2_000);
    cluster.now_ms += 60_000;
    assert_eq!(fenced(&mut cluster), []);
    let epoch = cluster.image().cluster.broker(2).unwrap().epoch;
    cluster.wait(SESSION_MS - 1);
    assert_eq!(fenced(&mut cluster), []);
    cluster.beat(heartbeat(2, epoch)).unwrap();
    cluster.wait(1);
    assert_eq!(fenced(&mut cluster), [1, 3], "they were not heard since");
}

#[test]
fn a_broker_that_was_silent_before_the_controller_froze_stays_so() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.wait(SESSION_MS);
    assert_eq!(fenced(&mut cluster), [1]);
    cluster.now_ms += 60_000;
    // Its id is free for another process, at once.
    assert!(cluster.register(registration(1, 2)).is_ok());
}

#[test]
fn a_process_that_lives_keeps_its_id_while_the_controller_is_frozen() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.now_ms += 60_000;
    let refused = cluster.register(registration(1, 2)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DuplicateBrokerRegistration);
}

#[test]
fn short_pauses_count_as_silence() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    for _ in 0..2 {
        cluster.now_ms += SESSION_MS / 2 - 1;
        assert_eq!(fenced(&mut cluster), []);
    }
    cluster.now_ms += 2;
    assert_eq!(fenced(&mut cluster), [1]);
}
