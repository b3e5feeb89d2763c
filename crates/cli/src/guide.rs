//! What `klamm` says without a tool, or about all of them: the list, an example of each, completions for shells.

use crate::{BROKER, RUN_CLASS, TOOLS, ZOOKEEPER, complain, say, tool};

/// The tools by what one wants to do. A tool that is in none of these is listed at the end.
const SECTIONS: &[(&str, &[&str])] = &[
    ("A broker", &[BROKER, "kafka-server-stop", "kafka-storage"]),
    ("In ZooKeeper's place", &["zkServer", ZOOKEEPER, "zookeeper-server-stop"]),
    (
        "Topics and records",
        &[
            "kafka-topics",
            "kafka-console-producer",
            "kafka-console-consumer",
            "kafka-get-offsets",
            "kafka-delete-records",
        ],
    ),
    ("Groups", &["kafka-consumer-groups", "kafka-groups"]),
    ("Settings", &["kafka-configs", "kafka-features", "kafka-client-metrics"]),
    (
        "The cluster",
        &[
            "kafka-cluster",
            "kafka-metadata-quorum",
            "kafka-broker-api-versions",
            "kafka-log-dirs",
            "kafka-leader-election",
            "kafka-preferred-replica-election",
            "kafka-reassign-partitions",
            "kafka-replica-verification",
        ],
    ),
    (
        "Measuring and testing",
        &[
            "kafka-producer-perf-test",
            "kafka-consumer-perf-test",
            "kafka-e2e-latency",
            "kafka-verifiable-producer",
            "kafka-verifiable-consumer",
        ],
    ),
    ("Files", &["kafka-dump-log"]),
];

/// Examples for tools whose help is a table of options; the others have theirs beside their options.
const EXAMPLES: &[(&str, &str)] = &[
    ("kafka-broker-api-versions", "--bootstrap-server localhost:9092"),
    ("kafka-client-metrics", "--bootstrap-server localhost:9092 --describe"),
    ("kafka-configs", "--bootstrap-server localhost:9092 --alter --topic test --add-config retention.ms=60000"),
    ("kafka-console-consumer", "--bootstrap-server localhost:9092 --topic test --from-beginning"),
    ("kafka-console-producer", "--bootstrap-server localhost:9092 --topic test"),
    ("kafka-consumer-groups", "--bootstrap-server localhost:9092 --describe --all-groups"),
    ("kafka-consumer-perf-test", "--bootstrap-server localhost:9092 --topic test --num-records 1000000"),
    (
        "kafka-delete-records",
        "--bootstrap-server localhost:9092 --offset-json-file <(echo '{\"partitions\":[{\"topic\":\"test\",\"partition\":0,\"offset\":100}]}')",
    ),
    ("kafka-dump-log", "--print-data-log --files /tmp/kafka-logs/test-0/00000000000000000000.log"),
    (
        "kafka-e2e-latency",
        "--bootstrap-server localhost:9092 --topic test --num-records 1000 --producer-acks all --record-size 100",
    ),
    ("kafka-get-offsets", "--bootstrap-server localhost:9092 --topic test --time latest"),
    ("kafka-groups", "--bootstrap-server localhost:9092 --list"),
    ("kafka-leader-election", "--bootstrap-server localhost:9092 --election-type preferred --all-topic-partitions"),
    ("kafka-log-dirs", "--bootstrap-server localhost:9092 --describe"),
    ("kafka-preferred-replica-election", "--zookeeper localhost:2181"),
    ("kafka-reassign-partitions", "--bootstrap-server localhost:9092 --list"),
    ("kafka-replica-verification", "--broker-list localhost:9092 --topics-include test --time -2"),
    ("kafka-server-stop", "--node-id=1"),
    ("kafka-topics", "--bootstrap-server localhost:9092 --create --topic test --partitions 3"),
];

/// Adds an example to the help that a tool has printed.
pub fn print_example(name: &str) {
    if let Some((_, words)) = EXAMPLES.iter().find(|(tool, _)| *tool == name) {
        complain!("\nexample:");
        let mut line = format!("  bin/{name}.sh");
        for word in words.split(' ') {
            if line.len() + 1 + word.len() > 80 {
                complain!("{line}");
                line = " ".repeat(5);
            }
            line = format!("{line} {word}");
        }
        complain!("{line}");
    }
}

/// Every name that may stand behind `klamm`, with a line about it.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let broker = (BROKER, "run a broker");
    let zookeeper = (ZOOKEEPER, "run the process in ZooKeeper's place");
    let class = (RUN_CLASS, "the tool behind a Java class's name");
    [broker, zookeeper].into_iter().chain(TOOLS.iter().map(|(name, about, _)| (*name, *about))).chain([class])
}

/// Answers `klamm`, `klamm --help`, `klamm --version`, `klamm completions` and names that are no tool.
pub fn answer(word: &str, rest: &[String]) -> u8 {
    match word {
        "--version" => {
            say!("{}", tool::VERSION);
            0
        }
        "--help" | "-h" | "help" => {
            list();
            0
        }
        "completions" => completions(rest),
        name => {
            complain!("klamm: there is no tool called {name}; `klamm --help` lists them");
            1
        }
    }
}

fn list() {
    say!("klamm {}: Apache Kafka's broker and tools in one binary\n", env!("CARGO_PKG_VERSION"));
    say!("usage: klamm TOOL [OPTIONS]     (bin/TOOL.sh does the same; TOOL --help tells the options)");
    let in_a_section = |name: &str| SECTIONS.iter().any(|(_, tools)| tools.contains(&name));
    for (title, tools) in SECTIONS {
        say!("\n{title}");
        for (name, about) in tools.iter().filter_map(|tool| names().find(|(name, _)| name == tool)) {
            say!("  {name:34} {about}");
        }
    }
    say!("\nMore");
    for (name, about) in names().filter(|(name, _)| !in_a_section(name)) {
        say!("  {name:34} {about}");
    }
    say!("  {:34} completions for your shell", "completions bash|zsh|fish");
}

/// The options of a tool are what its help names, so that completions never lag behind.
fn completions(rest: &[String]) -> u8 {
    let words: Vec<&str> = names().map(|(name, _)| name).chain(["completions"]).collect();
    let scripts: Vec<String> = names().map(|(name, _)| format!("{name}.sh")).collect();
    match rest {
        [shell] if shell == "bash" => {
            say!("{}", BASH.replace("@TOOLS@", &words.join(" ")).replace("@SCRIPTS@", &scripts.join(" ")));
        }
        [shell] if shell == "zsh" => {
            let described: Vec<String> =
                names().map(|(name, about)| format!("'{name}:{}'", about.replace('\'', "'\\''"))).collect();
            say!("{}", ZSH.replace("@TOOLS@", &described.join(" ")).replace("@SCRIPTS@", &scripts.join(" ")));
        }
        [shell] if shell == "fish" => {
            for (name, about) in names() {
                let about = about.replace('\'', "\\'");
                say!("complete -c klamm -n __fish_use_subcommand -f -a {name} -d '{about}'");
                say!("complete -c {name}.sh -a '(__klamm_options {name})'");
            }
            say!("{FISH}");
        }
        _ => {
            complain!("usage: klamm completions bash|zsh|fish");
            complain!("example: source <(klamm completions bash)");
            return 1;
        }
    }
    0
}

const BASH: &str = r#"_klamm() {
    local cur=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]##*/}
    tool=${tool%.sh}
    COMPREPLY=()
    if [ "$tool" = klamm ]; then
        if [ "$COMP_CWORD" -eq 1 ]; then
            COMPREPLY=($(compgen -W "@TOOLS@" -- "$cur"))
            return
        fi
        tool=${COMP_WORDS[1]}
    fi
    case $cur in
    -*) COMPREPLY=($(compgen -W "$(klamm "$tool" --help 2>&1 | grep -oE -e '--[a-z][a-z0-9.-]*' | sort -u)" -- "$cur")) ;;
    esac
}
complete -o default -F _klamm klamm @SCRIPTS@"#;

const ZSH: &str = r#"#compdef klamm @SCRIPTS@
_klamm() {
    local tool=${${words[1]:t}%.sh}
    local -a tools
    tools=(@TOOLS@)
    if [[ $tool == klamm ]]; then
        if (( CURRENT == 2 )); then
            _describe tool tools
            return
        fi
        tool=${words[2]}
    fi
    if [[ ${words[CURRENT]} == -* ]]; then
        compadd -- ${(fu)"$(klamm $tool --help 2>&1 | grep -oE -e '--[a-z][a-z0-9.-]*')"}
    else
        _files
    fi
}
compdef _klamm klamm @SCRIPTS@"#;

const FISH: &str = r#"function __klamm_options
    klamm $argv[1] --help 2>&1 | string match -ra -- '--[a-z][a-z0-9.-]*' | sort -u
end
complete -c klamm -n 'not __fish_use_subcommand' -a '(__klamm_options (commandline -opc)[2])'"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_examples_name_tools() {
        for tool in SECTIONS.iter().flat_map(|(_, tools)| *tools).chain(EXAMPLES.iter().map(|(tool, _)| tool)) {
            assert!(names().any(|(name, _)| name == *tool), "{tool}");
        }
    }
}
