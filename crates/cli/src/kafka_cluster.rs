//! `kafka-cluster`: the cluster's id, its endpoints, and brokers that are gone.

use client::Error;

use crate::argparse::{
    self, Argument, BOOTSTRAP_CONTROLLER, BOOTSTRAP_SERVER, COMMAND_CONFIG, Command, Exclusive, Given, Program, Wrong,
};
use crate::say;
use crate::tool::{self, Exception, Stop};

const SERVER: Argument = BOOTSTRAP_SERVER.short('b');
const CONTROLLER: Argument = BOOTSTRAP_CONTROLLER.short('C');
const CONFIG: Argument =
    Argument::value("config", None, "CONFIG", "The same as --command-config (the older name for it).");
const ONE: Exclusive = Exclusive::one_of(&["bootstrap-server", "bootstrap-controller"]);

const PROGRAM: Program = Program {
    name: "kafka-cluster",
    about: "The Kafka cluster tool.",
    options: &[],
    exclusive: Exclusive::NONE,
    commands: &[
        Command {
            name: "cluster-id",
            about: "Get information about the ID of a cluster.",
            options: &[SERVER, CONTROLLER, CONFIG, COMMAND_CONFIG.short('c')],
            exclusive: ONE,
        },
        Command {
            name: "unregister",
            about: "Unregister a broker.",
            options: &[
                SERVER,
                CONTROLLER,
                CONFIG,
                COMMAND_CONFIG.short('c'),
                Argument::value("id", Some('i'), "ID", "The id of the broker.").required(),
            ],
            exclusive: ONE,
        },
        Command {
            name: "list-endpoints",
            about: "List endpoints",
            options: &[
                SERVER,
                CONTROLLER,
                CONFIG,
                COMMAND_CONFIG.short('c'),
                Argument::flag("include-fenced-brokers", "Also brokers that are registered and do not serve."),
            ],
            exclusive: ONE,
        },
    ],
    example: "bin/kafka-cluster.sh cluster-id --bootstrap-server localhost:9092",
    wrong: Wrong::WithUsage,
};

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = argparse::parse(&PROGRAM, args).and_then(|given| tool::block_on(run(&given)));
    tool::end(result, &[], tool::print_uncaught)
}

async fn run(given: &Given) -> Result<(), Stop> {
    let admin = tool::admin(&tool::connection_settings(given)?).await?;
    let failed =
        |error: Error| Exception::new("java.util.concurrent.ExecutionException", format!("{}: {error}", error.class()));
    match given.command {
        "cluster-id" => match admin.cluster_id().await.map_err(failed)? {
            Some(id) => say!("Cluster ID: {id}"),
            None => say!("No cluster ID found. The Kafka version is probably too old."),
        },
        "unregister" => {
            let id = given.value("id").unwrap_or_default();
            let id: i32 =
                id.parse().map_err(|_| Exception::illegal_argument(format!("{id} is not the id of a broker")))?;
            match admin.unregister_broker(id).await {
                Ok(()) => say!("Broker {id} is no longer registered."),
                Err(Error::Unsupported(_)) => {
                    say!("The target cluster does not support the broker unregistration API.");
                }
                Err(error) => return Err(failed(error).into()),
            }
        }
        _ => {
            let nodes = admin.nodes(given.has("include-fenced-brokers")).await.map_err(failed)?;
            let host = nodes.iter().map(|n| n.node.host.len()).max().unwrap_or(0).max(9);
            // Only brokers can be fenced.
            let is_controller = given.has("bootstrap-controller");
            let row = |id: &str, name: &str, port: &str, rack: &str, state: &str, kind: &str| {
                let state = if is_controller { String::new() } else { format!("{state:10} ") };
                say!("{id:10} {name:host$} {port:10} {rack:10} {state}{kind:15}");
            };
            row("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE");
            for n in nodes {
                let rack = n.node.rack.as_deref().unwrap_or("null");
                let state = if n.is_fenced { "fenced" } else { "unfenced" };
                let kind = if is_controller { "controller" } else { "broker" };
                row(&n.node.id.to_string(), &n.node.host, &n.node.port.to_string(), rack, state, kind);
            }
        }
    }
    Ok(())
}
