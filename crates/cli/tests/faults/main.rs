//! A cluster of real processes under faults, its clients' history, and the rules that the history must keep.
//!
//! Without settings a few faults, as CI wants it. `cargo xtask faults` sets these: `FAULTS_MINUTES` for how long,
//! `FAULTS_SEED` for which chance, `FAULTS_ONLY` for which kinds, `FAULTS_SYNCED` for topics that are all synced before they
//! are acknowledged. Reading order: `history`, `checker`, `fault`, `run`; then `house` and what is in it.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // a helper that fails fails its test

mod chance;
mod checker;
mod clients;
mod cluster;
mod disk;
mod fault;
mod history;
mod house;
mod network;
mod node;
mod power;
mod run;

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered() {
    let plan = run::Plan::from_environment();
    match house::inside() {
        None => house::enter("nothing_acknowledged_is_lost_doubled_or_reordered", plan.is_long()),
        Some(folder) => {
            house::settle(&folder);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
            if let Err(why) = runtime.block_on(run::run(&folder, &plan)) {
                panic!("seed {}: {why}", plan.seed);
            }
        }
    }
}
