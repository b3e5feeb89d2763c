//! How long a broker takes to be of use: from the start of its process to the first acknowledged record.

use crate::Outcome;
use crate::client::{connect, create_topic, first_ack};
use crate::load;
use crate::options::Options;
use crate::process::machine;
use crate::server::{Broker, Folder, Server, free_port};
use crate::stats::{median, range};
use crate::workload::{Kind, Until, Workload};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const TOPIC: &str = "first";

pub fn run(mut options: Options) -> Outcome<()> {
    let rounds: usize = options.number("rounds", 5)?;
    let gb: f64 = options.number("gb", 0.0)?;
    let partitions: usize = options.number("partitions", 4)?;
    let folder = Folder::from(&mut options);
    let broker = Broker::from(&mut options)?;
    options.end()?;
    println!("{}", machine());
    let mut times = Vec::new();
    for round in 0..rounds {
        let dir = folder.sub(&format!("empty-{round}"))?;
        let (server, took) = first(&broker, dir.path(), true)?;
        times.push(took);
        server.kill()?;
    }
    tell("empty directory, topic made", &times);

    let dir = folder.sub("full")?;
    let (mut server, _) = first(&broker, dir.path(), true)?;
    if gb > 0.0 {
        let kind = Kind::Produce {
            batch_bytes: 64 << 10,
            record_bytes: 1000,
            in_flight: 5,
            until: Until::Bytes((gb * 1e9) as u64),
        };
        let workload =
            Workload { partitions, connections: partitions.min(16), kind, ..Workload::by_name("produce-64k")? };
        create_topic(&mut connect(server.address)?, "full", partitions as i32)?;
        load::run(&workload, server.address, "full", || Ok(()))?;
    }
    for (how, kill) in [("SIGKILL", true), ("SIGTERM", false)] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            match kill {
                true => server.kill()?,
                false => server.stop()?,
            }
            let (next, took) = first(&broker, dir.path(), false)?;
            server = next;
            times.push(took);
        }
        tell(&format!("restart after {how} with {gb} GB of logs in {partitions} partitions, page cache warm"), &times);
    }
    Ok(())
}

/// Starts a broker and times the first acknowledgement.
fn first(broker: &Broker, dir: &Path, create: bool) -> Outcome<(Server, Duration)> {
    let port = free_port()?;
    let command = broker.command(dir, port, &[])?;
    let begun = Instant::now();
    let server = Server::launch(command, port, &dir.join("output"))?;
    first_ack(server.address, TOPIC, create, begun + PATIENCE)?;
    Ok((server, begun.elapsed()))
}

fn tell(what: &str, times: &[Duration]) {
    let ms = || times.iter().map(|t| t.as_secs_f64() * 1000.0);
    let (low, high) = range(ms());
    println!("{:6.0} ms ({low:.0}–{high:.0}) to the first acknowledged record: {what}", median(ms()));
}
