//! What Klamm costs, held against the least that a program could do: a load generator, the floors, and their comparison.
//!
//! Invariant: the server under test runs in a process of its own, and every figure worth quoting is a ratio between two
//! servers that had the same load in turn, in one run on one machine. Nothing here passes or fails on a time.
//!
//! Read `workload.rs` (what is measured), `load/` (the generator), `floor/` (the least), then `compare.rs`.

#![forbid(unsafe_code)]

mod client;
mod compare;
mod floor;
mod load;
mod memory;
mod options;
mod process;
mod server;
mod start;
mod stats;
mod syscalls;
mod workload;

use options::Options;
use std::error::Error;
use std::process::ExitCode;

/// Whatever ends a run; a bench has nobody to hand an error to but its user.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
usage: bench COMMAND [--name value]...

  compare   floor and broker under the same loads in turn: ratios of CPU, latencies
              --rounds 5  --only NAME,NAME  --scale 1.0 (of bytes and seconds)  --broker COMMAND
              --other HOST:PORT,PID (a server that runs already, such as Apache Kafka)  --dir FOLDER  --csv FILE
              --syscalls yes (one more round that counts system calls, with perf)
  memory    resident memory: idle, with partitions, with idle connections, after load; CPU while idle
              --partitions 1000  --topics 1000  --connections 10000  --seconds 30  --broker COMMAND  --dir FOLDER
  start     process start to the first acknowledged record: empty directory; restart after SIGKILL and SIGTERM
              --rounds 5  --gb 0 (of logs before the restarts)  --partitions 4  --broker COMMAND  --dir FOLDER
  drive     one workload against a server that runs already, for a profiler
              --workload NAME  --address HOST:PORT  --pid PID  --scale 1.0
  list      the workloads
  sink      the floor of producing:  --port PORT --dir FOLDER --partitions N
  source    the floor of consuming:  --port PORT --file FILE

COMMAND starts a broker when the path of a properties file is appended to it.
Default: ../target/release/klamm kafka-server-start, as seen from this folder.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = words.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = Options::parse(rest).and_then(|options| match command.as_str() {
        "compare" => compare::run(options),
        "memory" => memory::run(options),
        "start" => start::run(options),
        "drive" => compare::drive(options),
        "list" => compare::list(options),
        "sink" => floor::sink::run(options),
        "source" => floor::source::run(options),
        _ => Err(format!("no command is called {command}\n{USAGE}").into()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
