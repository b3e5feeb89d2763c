//! Brokers without an id are given one, as ZooKeeper's were, and keep it.

use std::fs;

use super::home::{Home, wait};

fn id_of(home: &Home, logs: &str) -> Option<String> {
    let meta = fs::read_to_string(home.path(logs).join("meta.properties")).ok()?;
    meta.lines().find_map(|line| line.strip_prefix("node.id=")).map(str::to_owned)
}

/// Takes the line with the id out of a broker's file, and adds others.
fn without_id(home: &Home, file: &str, more: &str) {
    let path = home.path("config").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("broker.id=")).collect();
    fs::write(path, rest.join("\n") + "\n" + more).unwrap();
}

#[test]
fn brokers_without_ids_are_given_different_ones_and_keep_them() {
    let mut home = Home::new();
    home.run("zkServer", &["start"]).ok();
    let ports = [(); 4].map(|()| testkit::free_port());
    // At once, so that they ask for the same one: two say that they have none, one says nothing.
    let files = ["a.properties", "b.properties", "c.properties"];
    for (file, port) in files.iter().zip(ports) {
        home.write_config(file, -1, port, &format!("logs-{file}"));
        if *file == "c.properties" {
            without_id(&home, file, "");
        }
        home.spawn_broker(file);
    }
    let create = ["--create", "--replication-factor", "3", "--partitions", "1", "--topic", "t"];
    wait("three brokers are there", || home.topics(&create).out == "Created topic \"t\".\n");
    let given: Vec<String> = files.iter().map(|file| id_of(&home, &format!("logs-{file}")).unwrap()).collect();
    let mut sorted = given.clone();
    sorted.sort();
    assert_eq!(sorted, ["1001", "1002", "1003"]);

    // One that is away keeps its id: it has it again when it comes back, and nobody else gets it meanwhile.
    home.kill_broker("a.properties");
    home.write_config("d.properties", -1, ports[3], "logs-d");
    home.start_broker("d.properties", ports[3]);
    // A port is open before an id is written down.
    wait("it has an id", || id_of(&home, "logs-d").is_some());
    assert_eq!(id_of(&home, "logs-d").unwrap(), "1004");
    home.start_broker("a.properties", ports[0]);
    assert_eq!(id_of(&home, "logs-a.properties").unwrap(), given[0]);
    let server = format!("127.0.0.1:{}", ports[0]);
    let configs =
        ["--bootstrap-server", &server, "--describe", "--all", "--entity-type", "brokers", "--entity-name", &given[0]];
    let said = home.run("kafka-configs", &configs).ok();
    assert!(said.contains(&format!("broker.id={} ", given[0])), "{said}");

    // A file that names another one than the directory has is refused, and so is one that names what is handed out.
    home.kill_broker("d.properties");
    for (id, why) in
        [(7, "doesn't match stored node.id `1004`"), (1004, "not greater than reserved.broker.max.id=1000")]
    {
        home.write_config("d.properties", id, ports[3], "logs-d");
        home.spawn_broker("d.properties");
        assert_ne!(home.broker_ends("d.properties"), Some(0));
        assert!(home.said("d.properties").contains(why), "{}", home.said("d.properties"));
    }
    // Without the handing out the directory's own id is a good one.
    let generation_off = "broker.id.generation.enable=false\n";
    home.write_config("d.properties", 1004, ports[3], "logs-d");
    let path = home.path("config/d.properties");
    fs::write(&path, fs::read_to_string(&path).unwrap() + generation_off).unwrap();
    home.start_broker("d.properties", ports[3]);

    without_id(&home, "d.properties", generation_off);
    home.kill_broker("d.properties");
    home.spawn_broker("d.properties");
    assert_ne!(home.broker_ends("d.properties"), Some(0));
    assert!(home.said("d.properties").contains("broker.id must be equal or greater than 0"));
}
