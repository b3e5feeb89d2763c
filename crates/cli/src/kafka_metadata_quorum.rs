//! `kafka-metadata-quorum`: who keeps the cluster's state, and how far each of them is.

use client::admin::{Admin, QuorumDescription, ReplicaState};

use crate::argparse::{
    self, Argument, BOOTSTRAP_CONTROLLER, BOOTSTRAP_SERVER, COMMAND_CONFIG, Command, Exclusive, Given, Program, Wrong,
};
use crate::tool::{self, Stop, terse};
use crate::{clock, say};

const PROGRAM: Program = Program {
    name: "kafka-metadata-quorum",
    about: "This tool describes kraft metadata quorum status.",
    options: &[COMMAND_CONFIG, BOOTSTRAP_SERVER, BOOTSTRAP_CONTROLLER],
    exclusive: Exclusive::one_of(&["bootstrap-server", "bootstrap-controller"]),
    commands: &[Command {
        name: "describe",
        about: "Describe the metadata quorum info",
        options: &[
            Argument::flag("status", "The quorum in short: leader, epoch, high watermark, voters."),
            Argument::flag("replication", "How far each node of the quorum is."),
            Argument::flag("human-readable", "With --replication: times as how long ago they are."),
        ],
        exclusive: Exclusive::NONE,
    }],
    example: "bin/kafka-metadata-quorum.sh --bootstrap-server localhost:9092 describe --status",
    wrong: Wrong::WithUsage,
};

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = argparse::parse(&PROGRAM, args).and_then(|given| run(&given));
    tool::end(result, &[], |exception| {
        crate::complain!("{}\n{}", exception.message, exception.headline());
        if let Some(cause) = &exception.cause {
            crate::complain!("Caused by: {cause}");
        }
    })
}

fn run(given: &Given) -> Result<(), Stop> {
    match (given.has("status"), given.has("replication"), given.has("human-readable")) {
        (true, true, _) => {
            return Err(terse("Only one of --status or --replication should be specified with describe sub-command"));
        }
        (false, false, _) => {
            return Err(terse("One of --status or --replication must be specified with describe sub-command"));
        }
        (true, _, true) => return Err(terse("The option --human-readable is only supported along with --replication")),
        _ => {}
    }
    let settings = tool::connection_settings(given)?;
    tool::block_on(async {
        let admin = tool::admin(&settings).await?;
        match given.has("status") {
            true => print_status(&admin).await,
            false => print_replication(&admin, given.has("human-readable")).await,
        }
    })
}

async fn print_status(admin: &Admin) -> Result<(), Stop> {
    let cluster_id = admin.cluster_id().await?.unwrap_or_default();
    let quorum = admin.describe_quorum().await?;
    let leader = quorum.voters.iter().find(|voter| voter.id == quorum.leader_id);
    let last = quorum.voters.iter().min_by_key(|voter| voter.log_end_offset);
    let (lag, lag_ms) = match (leader, last) {
        (Some(leader), Some(last)) => {
            let lag_ms = match (leader.last_caught_up_ms, last.last_caught_up_ms) {
                _ if leader.id == last.id => 0,
                (Some(leader), Some(last)) => leader - last,
                _ => -1,
            };
            (leader.log_end_offset - last.log_end_offset, lag_ms)
        }
        _ => (-1, -1),
    };
    say!("ClusterId:              {cluster_id}");
    say!("LeaderId:               {}", quorum.leader_id);
    say!("LeaderEpoch:            {}", quorum.leader_epoch);
    say!("HighWatermark:          {}", quorum.high_watermark);
    say!("MaxFollowerLag:         {lag}");
    say!("MaxFollowerLagTimeMs:   {lag_ms}");
    say!("CurrentVoters:          {}", list(&quorum, &quorum.voters));
    say!("CurrentObservers:       {}", list(&quorum, &quorum.observers));
    Ok(())
}

/// Nodes with their directories and endpoints, nearly in JSON.
fn list(quorum: &QuorumDescription, replicas: &[ReplicaState]) -> String {
    let shown = |replica: &ReplicaState| {
        let mut text = format!("{{\"id\": {}", replica.id);
        text += &match replica.directory_id.is_zero() {
            true => ", \"directoryId\": null".to_owned(),
            false => format!(", \"directoryId\": \"{}\"", replica.directory_id),
        };
        let endpoints = quorum.nodes.iter().find(|node| node.id == replica.id).map(|node| node.endpoints.as_slice());
        if let Some(endpoints) = endpoints.filter(|endpoints| !endpoints.is_empty()) {
            let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
            text += &format!(", \"endpoints\": [{}]", quoted.join(", "));
        }
        text + "}"
    };
    let all: Vec<String> = replicas.iter().map(shown).collect();
    format!("[{}]", all.join(", "))
}

async fn print_replication(admin: &Admin, human_readable: bool) -> Result<(), Stop> {
    let quorum = admin.describe_quorum().await?;
    let now_ms = clock::now_ms();
    let leader_end = quorum.voters.iter().find(|v| v.id == quorum.leader_id).map_or(-1, |v| v.log_end_offset);
    let time = |ms: Option<i64>| match ms {
        None => "-1".to_owned(),
        Some(ms) if human_readable => format!("{} ms ago", (now_ms - ms).max(0)),
        Some(ms) => ms.to_string(),
    };
    let header =
        ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"];
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    let is_leader = |replica: &&ReplicaState| replica.id == quorum.leader_id;
    let leader = quorum.voters.iter().filter(is_leader).map(|replica| (replica, "Leader"));
    let followers = quorum.voters.iter().filter(|v| !is_leader(v)).map(|replica| (replica, "Follower"));
    let observers = quorum.observers.iter().map(|replica| (replica, "Observer"));
    for (replica, status) in leader.chain(followers).chain(observers) {
        rows.push(vec![
            replica.id.to_string(),
            replica.directory_id.to_string(),
            replica.log_end_offset.to_string(),
            (leader_end - replica.log_end_offset).to_string(),
            time(replica.last_fetch_ms),
            time(replica.last_caught_up_ms),
            status.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in &rows {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}\t")).collect();
        say!("{cells}");
    }
    Ok(())
}
