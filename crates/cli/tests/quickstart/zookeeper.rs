//! The process in ZooKeeper's place by itself: its script's words, its port, and who comes to the wrong address.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::home::{Home, wait};

#[test]
fn the_script_says_what_zookeepers_says() {
    let home = Home::new();
    let down = home.run("zkServer", &["status"]);
    let said = "Error contacting service. It is probably not running.\n";
    assert_eq!((down.code, down.out.as_str()), (Some(1), said));
    let pid_file = home.path("zookeeper/zookeeper_server.pid");
    let none = format!("Stopping zookeeper ... no zookeeper to stop (could not find file {})\n", pid_file.display());
    assert_eq!(home.run("zkServer", &["stop"]).ok(), none);

    assert_eq!(home.run("zkServer", &["start"]).ok(), "Starting zookeeper ... STARTED\n");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let again = format!("Starting zookeeper ... already running as process {pid}.\n");
    assert_eq!(home.run("zkServer", &["start"]).ok(), again);
    let restarted = "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n";
    assert_eq!(home.run("zkServer", &["restart"]).ok(), restarted);
    assert_ne!(std::fs::read_to_string(&pid_file).unwrap(), pid);
    assert_eq!(home.run("zkServer", &["status"]).ok(), "Mode: standalone\n");
    assert_eq!(home.run("zkServer", &["stop"]).ok(), "Stopping zookeeper ... STOPPED\n");
    assert!(!pid_file.exists());

    for words in [&[][..], &["frob"], &["start", "a", "b"]] {
        let refused = home.run("zkServer", words);
        assert!(refused.code == Some(1) && refused.err.starts_with("Usage: zkServer.sh {start|"), "{refused:?}");
    }
    std::fs::write(home.path("conf/bad.cfg"), "dataDir=/nowhere\nclientPort=x\n").unwrap();
    let refused = home.run("zkServer", &["start", "bad.cfg"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), "Starting zookeeper ... FAILED TO START\n"));
    assert!(refused.err.contains("clientPort=x is not allowed"), "{refused:?}");
}

#[test]
fn its_port_answers_scripts_and_tells_zookeepers_clients_from_kafkas() {
    let home = Home::new();
    home.run("zkServer", &["start"]).ok();
    assert_eq!(home.ask_quorum(b"ruok"), b"imok");
    let answer = |word: &[u8]| String::from_utf8(home.ask_quorum(word)).unwrap();
    assert!(answer(b"srvr").contains("\nMode: standalone\n"));
    assert!(answer(b"mntr").contains("zk_server_state\tstandalone\n"));
    // A session, as ZooKeeper's clients ask for it.
    let mut connect = vec![0, 0, 0, 45];
    connect.extend([0; 24]);
    connect.extend([0, 0, 0, 16]);
    connect.extend([0; 17]);
    assert_eq!(home.ask_quorum(&connect), b"");
    let log = home.path("logs/zookeeper.out");
    wait("the log says who came", || {
        std::fs::read_to_string(&log).unwrap().contains("a ZooKeeper client asks for a session")
    });
    // Without brokers there is nobody to ask, which is told.
    let list = home.topics(&["--list"]);
    assert!(list.code == Some(1) && list.err.contains("No broker is registered with the quorum at"), "{list:?}");
}

#[test]
fn a_broker_without_a_quorum_says_what_to_do() {
    let mut home = Home::new();
    home.write_config("server.properties", 0, testkit::free_port(), "kafka-logs");
    let file = home.path("config/server.properties");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("timeout.ms=6000", "timeout.ms=200")).unwrap();
    home.spawn_broker("server.properties");
    assert_eq!(home.broker_ends("server.properties"), Some(1));
    let said = home.said("server.properties");
    for part in ["nobody answers at localhost:", "bin/zkServer.sh start", "without a properties file"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_broker_that_meets_apache_zookeeper_says_so() {
    let mut home = Home::new();
    let port = home.quorum.rsplit_once(':').unwrap().1.to_owned();
    // It closes on what it does not know, and answers its own words.
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut word) = (stream.unwrap(), [0; 4]);
            if stream.read_exact(&mut word).is_ok() && &word == b"srvr" {
                stream
                    .write_all(b"Zookeeper version: 3.5.9-83df9301, built on 01/06/2021\nMode: standalone\n")
                    .unwrap();
            }
        }
    });
    home.write_config("server.properties", 0, testkit::free_port(), "kafka-logs");
    home.spawn_broker("server.properties");
    assert_eq!(home.broker_ends("server.properties"), Some(1));
    let said = home.said("server.properties");
    assert!(said.contains(&format!("Apache ZooKeeper 3.5.9-83df9301 answers at localhost:{port}")), "{said}");
    assert!(said.contains("bin/zkServer.sh"), "{said}");
}

#[test]
fn a_broker_of_one_cluster_does_not_join_another() {
    let mut home = Home::new();
    home.run("zkServer", &["start"]).ok();
    let port = testkit::free_port();
    home.write_config("server.properties", 0, port, "kafka-logs");
    home.start_broker("server.properties", port);
    wait("it has its cluster's id", || home.topics(&["--list"]).code == Some(0));
    home.kill_broker("server.properties");
    home.run("zkServer", &["stop"]).ok();
    std::fs::remove_dir_all(home.path("zookeeper")).unwrap();
    home.run("zkServer", &["start"]).ok();
    home.spawn_broker("server.properties");
    assert_eq!(home.broker_ends("server.properties"), Some(1));
    let said = home.said("server.properties");
    assert!(said.contains("The broker is trying to join the wrong cluster"), "{said}");
}

#[test]
fn three_servers_are_one_quorum_and_outlive_one_of_them() {
    let mut home = Home::new();
    let ports = [(); 3].map(|()| [(); 3].map(|()| testkit::free_port()));
    let servers: Vec<String> =
        ports.iter().enumerate().map(|(i, [_, a, b])| format!("server.{}=127.0.0.1:{a}:{b}", i + 1)).collect();
    let file = |i: usize| format!("zoo{i}.cfg");
    for (i, [client, ..]) in ports.iter().enumerate() {
        let data = home.path(&format!("zoo{i}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("myid"), (i + 1).to_string()).unwrap();
        let lines = servers.join("\n");
        let text = format!("dataDir={}\nclientPort={client}\nclientPortAddress=localhost\n{lines}\n", data.display());
        std::fs::write(home.path("conf").join(file(i)), text).unwrap();
    }
    // A voter that was never formatted might have voted before.
    let unformatted = home.run("zkServer", &["start", &file(0)]);
    assert!(unformatted.code == Some(1) && unformatted.err.contains("kafka-storage"), "{unformatted:?}");
    for i in 0..3 {
        let path = format!("conf/{}", file(i));
        home.run("kafka-storage", &["format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", &path]).ok();
        home.run("zkServer", &["start", &file(i)]).ok();
    }
    let modes = |home: &Home, up: &[usize]| {
        let mut modes: Vec<String> = up.iter().map(|i| home.run("zkServer", &["status", &file(*i)]).out).collect();
        modes.sort();
        modes
    };
    wait("one leads", || modes(&home, &[0, 1, 2]) == ["Mode: follower\n", "Mode: follower\n", "Mode: leader\n"]);

    home.quorum = ports.map(|[client, ..]| format!("localhost:{client}")).join(",");
    let port = testkit::free_port();
    home.write_config("server.properties", 0, port, "kafka-logs");
    home.start_broker("server.properties", port);
    let create = |topic| home.topics(&["--create", "--replication-factor", "1", "--partitions", "1", "--topic", topic]);
    assert_eq!(create("before").ok(), "Created topic \"before\".\n");
    let leader = (0..3).find(|i| modes(&home, &[*i]) == ["Mode: leader\n"]).unwrap();
    home.run("zkServer", &["stop", &file(leader)]).ok();
    let left: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    wait("another leads", || modes(&home, &left) == ["Mode: follower\n", "Mode: leader\n"]);
    assert_eq!(create("after").ok(), "Created topic \"after\".\n");
    assert_eq!(home.topics(&["--list"]).ok(), "after\nbefore\n");
}
