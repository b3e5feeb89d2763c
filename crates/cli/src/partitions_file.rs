//! JSON files that name partitions: those to elect leaders of, those to move, topics to move.

use client::admin::TopicPartition;

use crate::json::Json;
use crate::tool::Exception;

pub const OPERATION: &str = "org.apache.kafka.tools.AdminOperationException";
pub const COMMAND_FAILED: &str = "org.apache.kafka.tools.AdminCommandFailedException";

/// A partition, with where its replicas shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub partition: TopicPartition,
    pub replicas: Vec<i32>,
    /// The directory of each replica; `any` leaves it to the broker.
    pub log_dirs: Vec<String>,
}

/// What lies in the file as text.
pub fn read(path: &str) -> Result<String, Exception> {
    std::fs::read_to_string(path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => path.to_owned(),
            _ => format!("{path}: {error}"),
        };
        Exception::new("java.nio.file.NoSuchFileException", why)
    })
}

fn parse(text: &str) -> Result<Json, Exception> {
    Json::parse(text).ok_or_else(|| Exception::new(OPERATION, "The input string is not a valid JSON"))
}

fn field<'j>(json: &'j Json, name: &str) -> Result<&'j Json, Exception> {
    json.get(name).ok_or_else(|| {
        let class = "com.fasterxml.jackson.databind.JsonMappingException";
        Exception::new(class, format!("No such field exists: `{name}`"))
    })
}

fn number(json: &Json) -> Result<i32, Exception> {
    let text = json.text().unwrap_or("a list or an object");
    text.parse().map_err(|_| Exception::new(OPERATION, format!("Expected `Int` value, received {text}")))
}

fn partition(entry: &Json) -> Result<TopicPartition, Exception> {
    let topic = field(entry, "topic")?.text().unwrap_or_default().to_owned();
    Ok((topic, number(field(entry, "partition")?)?))
}

fn check_version(json: &Json) -> Result<(), Exception> {
    match json.get("version").and_then(Json::text) {
        None | Some("1") => Ok(()),
        Some(other) => Err(Exception::new(OPERATION, format!("Not supported version field value {other}"))),
    }
}

/// Those that come more than once, each once.
pub fn twice<T: PartialEq + Clone>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let (mut seen, mut twice) = (Vec::new(), Vec::new());
    for item in items {
        match seen.contains(&item) {
            true if !twice.contains(&item) => twice.push(item),
            true => {}
            false => seen.push(item),
        }
    }
    twice
}

/// `{"partitions":[{"topic":"foo","partition":1}]}`
pub fn to_elect(text: &str) -> Result<Vec<TopicPartition>, Exception> {
    let json = parse(text)?;
    let missing = || Exception::new(OPERATION, "Replica election data is missing \"partitions\" field");
    let list = json.get("partitions").ok_or_else(missing)?.list();
    let all: Vec<TopicPartition> = list.iter().map(partition).collect::<Result<_, _>>()?;
    let twice: Vec<String> = twice(all.iter().cloned()).iter().map(name).collect();
    match twice.is_empty() {
        true => Ok(all),
        false => {
            let message = format!("Replica election data contains duplicate partitions: [{}]", twice.join(", "));
            Err(Exception::new(OPERATION, message))
        }
    }
}

/// `{"topics":[{"topic":"foo"}],"version":1}`
pub fn topics(text: &str) -> Result<Vec<String>, Exception> {
    let json = parse(text)?;
    check_version(&json)?;
    let list = field(&json, "topics")?.list();
    list.iter().map(|entry| Ok(field(entry, "topic")?.text().unwrap_or_default().to_owned())).collect()
}

/// `{"partitions":[{"topic":"foo","partition":1,"replicas":[1,2],"log_dirs":["any","any"]}],"version":1}`
pub fn moves(text: &str) -> Result<Vec<Move>, Exception> {
    let json = parse(text)?;
    check_version(&json)?;
    let mut moves: Vec<Move> = Vec::new();
    for entry in field(&json, "partitions")?.list() {
        let partition = partition(entry)?;
        let replicas: Vec<i32> = field(entry, "replicas")?.list().iter().map(number).collect::<Result<_, _>>()?;
        let log_dirs: Vec<String> = match entry.get("log_dirs") {
            Some(dirs) => dirs.list().iter().map(|dir| dir.text().unwrap_or_default().to_owned()).collect(),
            None => vec!["any".to_owned(); replicas.len()],
        };
        if replicas.len() != log_dirs.len() {
            let message = format!(
                "Size of replicas list [{}] is different from size of log dirs list [{}] for partition {}",
                ids(&replicas, ", "),
                log_dirs.join(", "),
                name(&partition)
            );
            return Err(Exception::new(OPERATION, message));
        }
        moves.push(Move { partition, replicas, log_dirs });
    }
    check(&moves)?;
    Ok(moves)
}

fn check(moves: &[Move]) -> Result<(), Exception> {
    let failed = |message: String| Err(Exception::new(COMMAND_FAILED, message));
    if moves.is_empty() {
        return failed("Partition reassignment list cannot be empty".to_owned());
    }
    if moves.iter().any(|m| m.replicas.is_empty()) {
        return failed("Partition replica list cannot be empty".to_owned());
    }
    let repeated: Vec<String> = twice(moves.iter().map(|m| m.partition.clone())).iter().map(name).collect();
    if !repeated.is_empty() {
        return failed(format!("Partition reassignment contains duplicate topic partitions: {}", repeated.join(",")));
    }
    let repeated: Vec<String> = moves
        .iter()
        .filter_map(|m| {
            let twice = twice(m.replicas.iter().copied());
            let said = format!("{} contains multiple entries for {}", name(&m.partition), ids(&twice, ","));
            (!twice.is_empty()).then_some(said)
        })
        .collect();
    if !repeated.is_empty() {
        let message = format!("Partition replica lists may not contain duplicate entries: {}", repeated.join(". "));
        return failed(message);
    }
    Ok(())
}

/// `topic-partition`
pub fn name(partition: &TopicPartition) -> String {
    format!("{}-{}", partition.0, partition.1)
}

pub fn ids(ids: &[i32], between: &str) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_names_replicas_and_perhaps_directories() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3,1],"log_dirs":["any","/d"]},
                      {"topic":"t","partition":1,"replicas":[2]}]}"#;
        let moves = moves(text).unwrap();
        assert_eq!((moves[0].replicas.as_slice(), moves[0].log_dirs[1].as_str()), (&[3, 1][..], "/d"));
        assert_eq!(
            (name(&moves[1].partition).as_str(), moves[1].log_dirs.as_slice()),
            ("t-1", &["any".to_owned()][..])
        );
    }

    /// The texts are those of Apache Kafka 4.3.1's tool.
    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let one = |replicas: &str| format!(r#"{{"partitions":[{{"topic":"t","partition":0,"replicas":{replicas}}}]}}"#);
        for (text, why) in [
            ("xx".to_owned(), "The input string is not a valid JSON"),
            (r#"{"version":1}"#.to_owned(), "No such field exists: `partitions`"),
            (r#"{"partitions":[]}"#.to_owned(), "Partition reassignment list cannot be empty"),
            (r#"{"partitions":[{"topic":"t","partition":0}]}"#.to_owned(), "No such field exists: `replicas`"),
            (one("[]"), "Partition replica list cannot be empty"),
            (one("[\"x\"]"), "Expected `Int` value, received x"),
            (
                one("[1,1,2]"),
                "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1",
            ),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1]},{"topic":"t","partition":0,"replicas":[1]}]}"#
                    .to_owned(),
                "Partition reassignment contains duplicate topic partitions: t-0",
            ),
        ] {
            assert_eq!(moves(&text).unwrap_err().message, why);
        }
        let twice = r#"{"partitions":[{"topic":"t","partition":0},{"topic":"t","partition":0}]}"#;
        let said = to_elect(twice).unwrap_err().message;
        assert_eq!(said, "Replica election data contains duplicate partitions: [t-0]");
        let said = to_elect("{}").unwrap_err().message;
        assert_eq!(said, "Replica election data is missing \"partitions\" field");
    }
}
