//! The container's entry script with the variables that the apache/kafka image takes; folders stand for the image's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::unpacked::{Running, program, release, tool};

struct Image {
    work: TempDir,
    port: u16,
    address: String,
}

impl Image {
    fn new() -> Image {
        let work = tempfile::Builder::new().prefix("container-").tempdir().unwrap();
        let home = work.path().join("home");
        fs::create_dir_all(home.join("config")).unwrap();
        fs::create_dir(work.path().join("shared")).unwrap();
        symlink(release().folder.join("bin"), home.join("bin")).unwrap();
        let port = testkit::free_port();
        Image { work, port, address: format!("127.0.0.1:{port}") }
    }

    fn data(&self) -> String {
        self.work.path().join("data").display().to_string()
    }

    /// The entry script with these variables.
    fn entry(&self, variables: &[(&str, &str)]) -> Command {
        let mut entry = program(&release().folder.join("contrib/docker/run"));
        entry.env("KLAMM_HOME", self.work.path().join("home"));
        entry.env("KLAMM_SHARED_CONFIG", self.work.path().join("shared"));
        entry.envs(variables.iter().copied());
        entry
    }

    fn start(&self, variables: &[(&str, &str)]) -> Running {
        Running::start(&mut self.entry(variables), &self.address, self.work.path().join("output"))
    }

    fn settings(&self) -> PathBuf {
        self.work.path().join("home/config/server.properties")
    }

    fn partitions(&self, topic: &str) -> String {
        tool("kafka-topics", &self.address, &["--create", "--topic", topic]);
        let described = tool("kafka-topics", &self.address, &["--describe", "--topic", topic]);
        described.split('\t').find(|part| part.starts_with("PartitionCount")).unwrap().to_owned()
    }
}

#[test]
fn variables_are_settings_and_a_stop_is_orderly() {
    let image = Image::new();
    let (listeners, data) = (format!("PLAINTEXT://{}", image.address), image.data());
    let mut broker = image.start(&[
        ("KAFKA_NODE_ID", &image.port.to_string()),
        ("KAFKA_LISTENERS", &listeners),
        ("KAFKA_LOG_DIRS", &data),
        ("KAFKA_NUM_PARTITIONS", "3"),
        ("KAFKA_CUSTOM__KEY___NAME", "x"),
        ("KAFKA_HEAP_OPTS", "-Xmx1G"),
        ("KAFKA_LOG4J_ROOT_LOGLEVEL", "warn"),
        ("KAFKA_LOG4J_LOGGERS", "kafka.request.logger=DEBUG"),
        ("KLAMM_LOG_FORMAT", "json"),
    ]);
    assert_eq!(image.partitions("t"), "PartitionCount: 3");
    let settings = fs::read_to_string(image.settings()).unwrap();
    assert!(settings.contains("\ncustom_key-name=x\n") && !settings.contains("heap"), "{settings}");
    let output = broker.output();
    assert!(output.contains("\"logger\":\"kafka.request.logger\",") && !output.contains("INFO"), "{output}");
    assert!(output.lines().all(|line| line.starts_with("{\"timestamp\":")), "{output}");
    kill_process(Pid::from_child(&broker.child), Signal::TERM).unwrap();
    assert_eq!(broker.child.wait().unwrap().code(), Some(0), "{}", broker.output());
}

#[test]
fn a_mounted_file_comes_first_and_variables_win() {
    let image = Image::new();
    let file = format!(
        "listeners=PLAINTEXT://{}\nlog.dirs={}\nnum.partitions=4\ndefault.replication.factor=1",
        image.address,
        image.data()
    );
    fs::write(image.work.path().join("shared/server.properties"), &file).unwrap();
    let broker = image.start(&[]);
    assert_eq!(image.partitions("of-the-file"), "PartitionCount: 4");
    drop(broker);
    let _broker = image.start(&[("KAFKA_NUM_PARTITIONS", "5")]);
    assert_eq!(image.partitions("of-the-variable"), "PartitionCount: 5");
}

#[test]
fn listeners_follow_from_what_is_advertised() {
    let image = Image::new();
    // The start is refused after the settings are written: nothing here is to listen on every interface.
    let variables = [("KAFKA_ADVERTISED_LISTENERS", "A://one:1,B://two:2"), ("KAFKA_NUM_PARTITIONS", "many")];
    assert_eq!(image.entry(&variables).output().unwrap().status.code(), Some(1));
    let settings = fs::read_to_string(image.settings()).unwrap();
    assert!(settings.contains("\nlisteners=A://0.0.0.0:1,B://0.0.0.0:2\n"), "{settings}");
    assert!(settings.contains("\nadvertised.listeners=A://one:1,B://two:2\n"), "{settings}");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let image = Image::new();
    let refused = |variables: &[(&str, &str)]| -> Output { image.entry(variables).output().unwrap() };
    let controller =
        refused(&[("KAFKA_PROCESS_ROLES", "controller"), ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://a:1")]);
    assert_eq!(controller.status.code(), Some(1));
    let said = "KAFKA_ADVERTISED_LISTENERS is not supported on a KRaft controller.\n";
    assert_eq!(String::from_utf8_lossy(&controller.stderr), said);
    let wrong = refused(&[("KAFKA_NUM_PARTITIONS", "many")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("num.partitions"), "{wrong:?}");
}

#[test]
fn a_quorum_is_formatted_once_with_the_cluster_id() {
    let image = Image::new();
    let controller = testkit::free_port();
    let listeners = format!("PLAINTEXT://{},CONTROLLER://127.0.0.1:{controller}", image.address);
    let (advertised, voters) = (format!("PLAINTEXT://{}", image.address), format!("7@127.0.0.1:{controller}"));
    let data = image.data();
    let variables = [
        ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
        ("KAFKA_NODE_ID", "7"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_LISTENERS", listeners.as_str()),
        ("KAFKA_ADVERTISED_LISTENERS", &advertised),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", &voters),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_LOG_DIRS", &data),
    ];
    for topic in ["before", "after"] {
        let _broker = image.start(&variables);
        assert_eq!(image.partitions(topic), "PartitionCount: 1");
        let mut id = program(&release().folder.join("bin/kafka-cluster.sh"));
        let id = id.args(["cluster-id", "--bootstrap-server", &image.address]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&id.stdout), "Cluster ID: 4L6g3nShT-eMCtK--X86sw\n");
    }
}
