//! `kafka-storage`: format log directories for a cluster, and tell what is in them.

use crate::argparse::{self, Argument, Command, Exclusive, Given, Program, Wrong};
use crate::features::{self, DEPENDENT, RELEASE};
use crate::say;
use crate::storage_tool::node::Node;
use crate::storage_tool::{format, info};
use crate::tool::{self, Stop};

const CONFIG: Argument =
    Argument::value("config", Some('c'), "CONFIG", "The node's settings, a .properties file.").required();

const PROGRAM: Program = Program {
    name: "kafka-storage",
    about: "The Kafka storage tool: log directories of brokers and controllers.",
    options: &[],
    exclusive: Exclusive::NONE,
    commands: &[
        Command {
            name: "info",
            about: "Show what is in the log directories of this node, and what is wrong with them.",
            options: &[CONFIG],
            exclusive: Exclusive::NONE,
        },
        Command {
            name: "format",
            about: "Format the log directories of this node. A broker without process.roles formats itself.",
            options: &[
                CONFIG,
                Argument::value("cluster-id", Some('t'), "CLUSTER_ID", "The cluster's id, as random-uuid makes one.")
                    .required(),
                Argument::value("add-scram", Some('S'), "ADD_SCRAM", "SCRAM credentials to begin with (not there yet)."),
                Argument::flag("ignore-formatted", "Pass over directories that are formatted.").short('g'),
                Argument::value(
                    "release-version",
                    Some('r'),
                    "RELEASE_VERSION",
                    "The release whose features the cluster begins with, from 3.3-IV3 on; 4.3-IV0 without it.",
                ),
                Argument::value(
                    "feature",
                    Some('f'),
                    "FEATURE",
                    "The level of one feature, as in kraft.version=1; may be given again.",
                ),
                Argument::flag(
                    "standalone",
                    "This controller is the only voter of a quorum that others can join. Without controller.quorum.voters.",
                )
                .short('s'),
                Argument::flag("no-initial-controllers", "The node comes to a quorum that others formatted.").short('N'),
                Argument::value(
                    "initial-controllers",
                    Some('I'),
                    "INITIAL_CONTROLLERS",
                    "The first voters as id@host:port:directory,...; the same on all of them. Without \
                     controller.quorum.voters.",
                ),
            ],
            exclusive: Exclusive::at_most_one_of(&["standalone", "no-initial-controllers", "initial-controllers"]),
        },
        features::version_mapping(&[RELEASE.short('r')]),
        features::feature_dependencies(&[DEPENDENT.short('f').required()]),
        Command {
            name: "random-uuid",
            about: "Print a random id, for a new cluster.",
            options: &[],
            exclusive: Exclusive::NONE,
        },
    ],
    example: "bin/kafka-storage.sh format --standalone -t $(bin/kafka-storage.sh random-uuid) -c config/standalone.properties",
    wrong: Wrong::WithUsage,
};

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = argparse::parse(&PROGRAM, args).and_then(|given| run(&given));
    tool::end(result, &[], tool::print_uncaught)
}

fn run(given: &Given) -> Result<(), Stop> {
    let node = || Node::read(given.value("config").unwrap_or_default());
    match given.command {
        "info" => match info::print(&node()?) {
            0 => Ok(()),
            code => Err(Stop::Exit(code)),
        },
        "format" => format::run(&node()?, given),
        "version-mapping" => features::print_mapping(given),
        "feature-dependencies" => features::print_dependencies(given),
        _ => {
            say!("{}", format::random_uuid());
            Ok(())
        }
    }
}
