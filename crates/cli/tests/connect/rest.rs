//! The REST server: Kafka's statuses, shapes and messages. What is expected was asked of Apache Kafka 4.3.1.

use std::fs;

use serde_json::{Value as Json, json};

use crate::broker::Broker;
use crate::worker::{Worker, raw, wait};

fn message(answer: (u16, Json)) -> (u16, String) {
    (answer.0, answer.1["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_connectors_life() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let file = folder.join("in.txt");
    fs::write(&file, "one\ntwo\n").unwrap();
    let file = file.to_str().unwrap();
    let worker = Worker::standalone(folder, &broker.address, "", &[]);
    let id = format!("127.0.0.1:{}", worker.port);

    let root = worker.get("/");
    assert_eq!(root["version"], "4.3.1");
    assert_eq!(root["kafka_cluster_id"].as_str().unwrap().len(), 22);
    assert_eq!(worker.get("/health")["status"], "healthy");
    assert_eq!(worker.get("/connectors"), json!([]));

    let config = json!({"connector.class": "FileStreamSource", "tasks.max": "1", "file": file, "topic": "t1"});
    let body = json!({"name": "src", "config": config}).to_string();
    let (status, made) = worker.ask("POST", "/connectors", Some(&body));
    assert_eq!(status, 201);
    assert_eq!(made["tasks"], json!([{"connector": "src", "task": 0}]));
    assert_eq!((&made["type"], &made["config"]["name"]), (&json!("source"), &json!("src")));
    assert_eq!(message(worker.ask("POST", "/connectors", Some(&body))), (409, "Connector src already exists".into()));
    worker.await_task("src", "RUNNING");
    assert_eq!(
        worker.get("/connectors/src/status"),
        json!({"name": "src", "connector": {"state": "RUNNING", "worker_id": id, "version": "4.3.1"},
               "tasks": [{"id": 0, "state": "RUNNING", "worker_id": id, "version": "4.3.1"}], "type": "source"})
    );
    assert_eq!(
        worker.get("/connectors/src/tasks")[0]["config"]["task.class"],
        "org.apache.kafka.connect.file.FileStreamSourceTask"
    );
    assert_eq!(worker.get("/connectors?expand=info&expand=status")["src"]["info"]["type"], "source");
    assert_eq!(worker.get("/connectors/src/tasks/0/status")["state"], "RUNNING");
    wait("offsets", || {
        (worker.get("/connectors/src/offsets")
            == json!({"offsets": [{"partition": {"filename": file}, "offset": {"position": 8}}]}))
        .then_some(())
    });

    assert_eq!(worker.ask("PUT", "/connectors/src/pause", None).0, 202);
    worker.await_task("src", "PAUSED");
    assert_eq!(worker.get("/connectors/src/status")["connector"]["state"], "PAUSED");
    assert_eq!(worker.ask("PUT", "/connectors/src/resume", None).0, 202);
    worker.await_task("src", "RUNNING");

    let refused = message(worker.ask("DELETE", "/connectors/src/offsets", None));
    assert_eq!(refused.0, 400);
    assert!(refused.1.starts_with("Connectors must be in the STOPPED state before"), "{}", refused.1);
    assert_eq!(worker.ask("PUT", "/connectors/src/stop", None).0, 204);
    assert_eq!(worker.get("/connectors/src/status")["connector"]["state"], "STOPPED");
    assert_eq!(worker.get("/connectors/src/tasks"), json!([]));
    let alter = |offset: Json| {
        let body = json!({"offsets": [{"partition": {"filename": file}, "offset": offset}]}).to_string();
        worker.ask("PATCH", "/connectors/src/offsets", Some(&body))
    };
    assert_eq!(
        message(alter(json!({"position": 4}))),
        (200, "The offsets for this connector have been altered successfully".into())
    );
    assert_eq!(
        message(alter(json!({"position": "x"}))),
        (500, "The value for the 'position' key in the offset is expected to be a Long value".into())
    );
    assert_eq!(worker.ask("PATCH", "/connectors/src/offsets", Some(r#"{"offsets":5}"#)).0, 500);
    assert_eq!(worker.ask("PATCH", "/connectors/src/offsets", Some(r#"{"offsets":null}"#)).0, 400);
    assert_eq!(worker.ask("PATCH", "/connectors/src/offsets", Some(r#"{"offsets":[]}"#)).0, 400);
    assert_eq!(worker.get("/connectors/src/offsets")["offsets"][0]["offset"]["position"], 4);
    assert_eq!(
        message(worker.ask("DELETE", "/connectors/src/offsets", None)),
        (200, "The offsets for this connector have been reset successfully".into())
    );
    assert_eq!(worker.get("/connectors/src/offsets"), json!({"offsets": []}));
    assert_eq!(worker.ask("PUT", "/connectors/src/resume", None).0, 202);
    worker.await_task("src", "RUNNING");
    // From the beginning again.
    wait("offsets", || (worker.get("/connectors/src/offsets")["offsets"][0]["offset"]["position"] == 8).then_some(()));

    assert_eq!(worker.ask("POST", "/connectors/src/restart", None).0, 204);
    let (status, plan) = worker.ask("POST", "/connectors/src/restart?includeTasks=true&onlyFailed=false", None);
    assert_eq!(
        (status, &plan["connector"]["state"], &plan["tasks"][0]["state"]),
        (202, &json!("RESTARTING"), &json!("RESTARTING"))
    );
    assert_eq!(worker.ask("POST", "/connectors/src/tasks/0/restart", None).0, 204);
    worker.await_task("src", "RUNNING");

    let patched = worker.ask("PATCH", "/connectors/src/config", Some(r#"{"topic":"t2","tasks.max":null}"#));
    assert_eq!(
        (patched.0, &patched.1["config"]["topic"], &patched.1["config"]["tasks.max"]),
        (200, &json!("t2"), &Json::Null)
    );
    assert_eq!(worker.ask("PUT", "/connectors/src/topics/reset", None).0, 202);
    assert_eq!(worker.ask("DELETE", "/connectors/src", None).0, 204);
    assert_eq!(message(worker.ask("DELETE", "/connectors/src", None)), (404, "Connector src not found".into()));
    assert_eq!(
        message(worker.ask("GET", "/connectors/src/status", None)),
        (404, "No status found for connector src".into())
    );
    assert_eq!(worker.get("/connectors"), json!([]));
}

#[test]
fn what_is_wrong_is_told_as_kafka_tells_it() {
    let broker = Broker::start();
    let worker = Worker::standalone(broker.folder.path(), &broker.address, "", &[]);
    let post = |body: Json| message(worker.ask("POST", "/connectors", Some(&body.to_string())));
    let all = post(json!({"name": "bad", "config": {"connector.class": "FileStreamSource", "errors.tolerance": "some",
        "value.converter": "NoSuch", "transforms": "a", "transforms.a.type": "NoSuch"}}));
    assert_eq!(all.0, 400);
    for line in [
        "Connector configuration is invalid and contains the following 4 error(s):",
        "Invalid value some for configuration errors.tolerance: String must be one of: none, all",
        "Invalid value NoSuch for configuration value.converter: Class NoSuch could not be found.",
        "Invalid value NoSuch for configuration transforms.a.type: Class NoSuch could not be found.",
        "Missing required configuration \"topic\" which has no default value.",
        "You can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`",
    ] {
        assert!(all.1.lines().any(|l| l == line), "{line}: {}", all.1);
    }
    let number = post(json!({"name": 1, "config": {}}));
    assert_eq!(number, (400, "Connector config {name=1} contains no connector type".to_owned()));
    assert_eq!(worker.ask("GET", "/connector-plugins/FileStreamSource/config/validate", None).0, 405);
    // Kafka does not ask whether there is such a connector.
    assert_eq!(worker.get("/connectors/none/topics"), json!({"none": {"topics": []}}));
    let unknown = post(json!({"name": "bad", "config": {"connector.class": "NoSuch"}}));
    assert_eq!(unknown.0, 400);
    assert!(
        unknown.1.starts_with("Failed to find any class that implements Connector and which name matches NoSuch"),
        "{}",
        unknown.1
    );
    assert_eq!(post(json!({"name": "bad", "config": {"tasks.max": "1"}})).0, 400);
    let topics = post(json!({"name": "bad", "config": {"connector.class": "FileStreamSink"}}));
    assert!(topics.1.contains("Must configure one of topics or topics.regex"), "{}", topics.1);
    let mismatch = worker.put("new", &[("name", "other"), ("connector.class", "FileStreamSource"), ("topic", "t")]);
    assert_eq!(
        message(mismatch),
        (400, "Connector name configuration (other) doesn't match connector name in the URL (new)".into())
    );

    assert_eq!(worker.ask("POST", "/connectors", Some("no json")).0, 500);
    assert_eq!(worker.ask("POST", "/connectors", Some(r#"{"nam":"x"}"#)).0, 500);
    let text = "POST /connectors HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(message(raw(worker.port, text.as_bytes()).unwrap()), (415, "HTTP 415 Unsupported Media Type".into()));
    assert_eq!(message(worker.ask("GET", "/nothing", None)), (404, "HTTP 404 Not Found".into()));
    assert_eq!(message(worker.ask("DELETE", "/connectors", None)), (405, "HTTP 405 Method Not Allowed".into()));
    // What a path can do is told for any connector, there or not.
    for (path, allowed) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/connectors", "GET, HEAD, OPTIONS, POST"),
        ("/connectors/no", "DELETE, GET, HEAD, OPTIONS"),
        ("/connectors/no/offsets", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/connectors/no/tasks/0/restart", "OPTIONS, POST"),
        ("/admin/loggers/any", "GET, HEAD, OPTIONS, PUT"),
    ] {
        assert_eq!(worker.ask("OPTIONS", path, None), (200, Json::from(allowed)), "{path}");
    }
    assert_eq!(message(worker.ask("OPTIONS", "/nothing", None)), (404, "HTTP 404 Not Found".into()));
    for (plugin, class) in [("Unknown", "FileStreamSource"), ("FileStreamSource", "Nope")] {
        let body = json!({"connector.class": class, "topic": "t"}).to_string();
        let refused = worker.ask("PUT", &format!("/connector-plugins/{plugin}/config/validate"), Some(&body));
        let why = format!("Included connector type {class} does not match request type {plugin}");
        assert_eq!(message(refused), (400, why));
    }
    assert_eq!(message(worker.ask("PUT", "/connectors/no/pause", None)), (404, "Unknown connector no".into()));

    // A body that claims, or is, far too much is refused, and the worker goes on.
    let claims =
        "POST /connectors HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n{";
    assert_eq!(raw(worker.port, claims.as_bytes()).unwrap().0, 413);
    let head =
        "POST /connectors HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut chunks = head.as_bytes().to_vec();
    for _ in 0..100 {
        chunks.extend(b"100000\r\n");
        chunks.resize(chunks.len() + 0x10_0000, b' ');
        chunks.extend(b"\r\n");
    }
    assert_eq!(raw(worker.port, &chunks).map(|a| a.0), Some(413));
    assert_eq!(worker.get("/connectors"), json!([]));
}

#[test]
fn plugins_tell_what_they_take() {
    let broker = Broker::start();
    let worker = Worker::standalone(broker.folder.path(), &broker.address, "", &[]);
    let connectors = worker.get("/connector-plugins");
    assert!(connectors.as_array().unwrap().contains(
        &json!({"class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "type": "sink", "version": "4.3.1"})
    ));
    let all = worker.get("/connector-plugins?connectorsOnly=false");
    assert!(all.as_array().unwrap().contains(
        &json!({"class": "org.apache.kafka.connect.json.JsonConverter", "type": "converter", "version": "4.3.1"})
    ));
    let config = worker.get("/connector-plugins/FileStreamSource/config");
    assert_eq!(config[0]["name"], "file");
    assert!(config.as_array().unwrap().iter().any(|c| c["name"] == "tasks.max" && c["default_value"] == "1"));
    assert_eq!(
        message(worker.ask("GET", "/connector-plugins/NoSuch/config", None)),
        (404, "Unknown plugin NoSuch.".into())
    );
    let asked = r#"{"connector.class":"FileStreamSource","tasks.max":"x"}"#;
    let (status, infos) = worker.ask("PUT", "/connector-plugins/FileStreamSource/config/validate", Some(asked));
    assert_eq!(status, 200);
    assert_eq!(infos["name"], "FileStreamSource");
    let tasks = infos["configs"].as_array().unwrap().iter().find(|c| c["value"]["name"] == "tasks.max").unwrap();
    assert_eq!(tasks["value"]["errors"][0], "Invalid value x for configuration tasks.max: Not a number of type INT");
    assert_eq!(tasks["definition"]["type"], "INT");
    let other = worker.ask(
        "PUT",
        "/connector-plugins/FileStreamSource/config/validate",
        Some(r#"{"connector.class":"FileStreamSink"}"#),
    );
    assert_eq!(
        message(other),
        (400, "Included connector type FileStreamSink does not match request type FileStreamSource".into())
    );
}

#[test]
fn overrides_of_clients_are_shown_and_held_against_the_policy() {
    let broker = Broker::start();
    let folder = broker.folder.path();
    let policy = "connector.client.config.override.policy=Allowlist\n\
                  connector.client.config.override.allowlist=linger.ms,client.id\n";
    let worker = Worker::standalone(folder, &broker.address, policy, &[]);
    let shown = |class: &str, more: &[(&str, &str)]| {
        let mut config = json!({"connector.class": class, "name": "c", "topic": "t", "topics": "t", "file": "f"});
        for (name, value) in more {
            config[*name] = (*value).into();
        }
        let path = format!("/connector-plugins/{class}/config/validate");
        let (status, answer) = worker.ask("PUT", &path, Some(&config.to_string()));
        assert_eq!(status, 200, "{answer}");
        let configs = answer["configs"].as_array().unwrap().clone();
        let is_of_a_client = |config: &&Json| config["value"]["name"].as_str().unwrap().contains(".override.");
        let found: Vec<Json> = configs.iter().filter(is_of_a_client).cloned().collect();
        (answer["error_count"].as_i64().unwrap(), found)
    };
    let entry = |name: &str, value: &str, errors: &[&str]| json!({"definition": null, "value": {"name": name, "value": value, "recommended_values": [], "errors": errors, "visible": true}});
    let refused = |name: &str| {
        format!("The 'Allowlist' policy does not allow '{name}' to be overridden in the connector configuration.")
    };

    // A source has a producer; what it says of a consumer concerns nobody.
    let given =
        [("producer.override.linger.ms", "5"), ("producer.override.acks", "1"), ("consumer.override.client.id", "x")];
    let acks = entry("producer.override.acks", "1", &[&refused("acks")]);
    assert_eq!(shown("FileStreamSource", &given), (1, vec![acks, entry("producer.override.linger.ms", "5", &[])]));
    // It has an admin client where it makes topics.
    let given = [("admin.override.retries", "1")];
    assert_eq!(shown("FileStreamSource", &given).1, Vec::<Json>::new());
    let given =
        [given[0], ("topic.creation.default.partitions", "1"), ("topic.creation.default.replication.factor", "1")];
    assert_eq!(
        shown("FileStreamSource", &given),
        (1, vec![entry("admin.override.retries", "1", &[&refused("retries")])])
    );
    // A sink has a consumer, and with dead letters a producer.
    let given = [("consumer.override.client.id", "x"), ("producer.override.acks", "1")];
    let client_id = entry("consumer.override.client.id", "x", &[]);
    assert_eq!(shown("FileStreamSink", &given), (0, vec![client_id]));
    let given = [("producer.override.acks", "1"), ("errors.deadletterqueue.topic.name", "dead")];
    assert_eq!(shown("FileStreamSink", &given).0, 1);
    // What the client itself would refuse.
    let (errors, found) = shown("FileStreamSource", &[("producer.override.linger.ms", "soon")]);
    assert_eq!(errors, 1);
    let why = found[0]["value"]["errors"][0].as_str().unwrap();
    assert!(why.starts_with("Invalid value soon for configuration linger.ms: "), "{why}");
    // It is not made either.
    let body = [("connector.class", "FileStreamSource"), ("topic", "t"), ("producer.override.acks", "1")];
    assert_eq!(worker.put("c", &body).0, 400);
}

#[test]
fn loggers_change_while_it_runs() {
    let broker = Broker::start();
    let worker = Worker::standalone(broker.folder.path(), &broker.address, "", &[]);
    let path = "/admin/loggers/org.apache.kafka.connect";
    assert_eq!(worker.get("/admin/loggers/root"), json!({"level": "INFO", "last_modified": null}));
    assert_eq!(message(worker.ask("GET", path, None)), (404, "Logger org.apache.kafka.connect not found.".into()));
    assert_eq!(worker.ask("PUT", path, Some(r#"{"level":"debug"}"#)), (200, json!(["org.apache.kafka.connect"])));
    assert_eq!(worker.get(path)["level"], "DEBUG");
    wait("requests are logged", || worker.output().contains("DEBUG GET /admin/loggers").then_some(()));
    assert_eq!(message(worker.ask("PUT", path, Some(r#"{"level":"FOO"}"#))), (404, "invalid log level 'FOO'.".into()));
    assert_eq!(
        message(worker.ask("PUT", path, Some("{}"))),
        (400, "Desired 'level' parameter was not specified in request.".into())
    );
    assert_eq!(worker.ask("PUT", &format!("{path}?scope=cluster"), Some(r#"{"level":"INFO"}"#)).0, 204);
    assert_eq!(worker.get(path)["level"], "INFO");
}
