//! `kafka-log-dirs`: how much each partition takes in which directory of which broker.

use client::admin::LogDirDescription;

use crate::json::quote;
use crate::options::{HELP, Opt, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool helps to query log directory usage on the specified brokers.";

const OPTIONS: &[Opt] = &[
    Opt::text(
        "bootstrap-server",
        "The server(s) to use for bootstrapping",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text("broker-list", "Broker list", "Ids of the brokers to ask, with commas; all when not given.").default(""),
    Opt::text(
        "command-config",
        "Admin client property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::flag("describe", "Show the directories and what is in them, as JSON."),
    HELP,
    Opt::text("topic-list", "Topic list", "The topics to show, with commas; all when not given.").default(""),
    VERSION,
];

const TERSE: &str = "org.apache.kafka.server.util.TerseException";

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| {
            complain!("{}", exception.message);
            if exception.class != TERSE {
                complain!("{}", exception.headline());
            }
            if let Some(cause) = &exception.cause {
                complain!("Caused by: {cause}");
            }
        })
    })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&options, &["bootstrap-server", "describe"])?;
    let mut wanted: Vec<i32> = Vec::new();
    for word in options.value("broker-list")?.unwrap_or_default().split(',').filter(|w| !w.is_empty()) {
        let id = word
            .parse()
            .map_err(|_| Exception::new("java.lang.NumberFormatException", format!("For input string: \"{word}\"")))?;
        wanted.push(id);
    }
    let topics: Vec<&str> =
        options.value("topic-list")?.unwrap_or_default().split(',').filter(|t| !t.is_empty()).collect();
    let mut properties = tool::settings(&options, "command-config")?;
    properties.insert("bootstrap.servers".into(), options.value("bootstrap-server")?.unwrap_or_default().into());
    let admin = tool::admin(&properties).await?;
    let there: Vec<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    let missing: Vec<String> = wanted.iter().filter(|id| !there.contains(id)).map(i32::to_string).collect();
    let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    if !missing.is_empty() {
        let message = format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            missing.join(","),
            list(&there)
        );
        return Err(Exception::new(TERSE, message).into());
    }
    let asked = if wanted.is_empty() { there } else { wanted };
    say!("Querying brokers for log directories information");
    let mut brokers = Vec::new();
    for id in &asked {
        let dirs = admin.log_dirs(*id).await?;
        brokers.push(format!("{{\"broker\":{id},\"logDirs\":[{}]}}", dirs_json(&dirs, &topics)));
    }
    say!("Received log directory information from brokers {}", list(&asked));
    say!("{{\"brokers\":[{}],\"version\":1}}", brokers.join(","));
    Ok(())
}

fn dirs_json(dirs: &[LogDirDescription], topics: &[&str]) -> String {
    let dir = |dir: &LogDirDescription| {
        let shown = dir.replicas.iter().filter(|r| topics.is_empty() || topics.contains(&r.partition.0.as_str()));
        let replicas: Vec<String> = shown
            .map(|r| {
                let partition = quoted(&format!("{}-{}", r.partition.0, r.partition.1));
                format!(
                    "{{\"partition\":{partition},\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                    r.size, r.offset_lag, r.is_future
                )
            })
            .collect();
        let error = dir.error.as_ref().map_or_else(|| "null".to_owned(), |e| quoted(&e.class()));
        format!("{{\"partitions\":[{}],\"error\":{error},\"logDir\":{}}}", replicas.join(","), quoted(&dir.path))
    };
    dirs.iter().map(dir).collect::<Vec<_>>().join(",")
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}
