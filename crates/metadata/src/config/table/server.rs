//! Identity, listeners, connections, requests and threads.

use crate::config::key::{Key, boolean, int, list, long, string};

const THREADS: &str = "connections share one pool of threads, sized by the machine's cores";
pub(super) const SOCKET_BUFFERS: &str = "the operating system sizes a socket's buffers as they are used";
const OWN_TIMES: &str =
    "requests between nodes have controller.quorum.request.timeout.ms and replica.socket.timeout.ms";
const PARKED: &str = "waiting requests are parked in their partition and leave it at once";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("node.id").required().at_least(0).high()
        .works("This node's id, unique in the cluster; in a node with both roles broker and controller share it."),
    int("broker.id").default("-1").high().works("Older name of node.id; where both are set they must agree."),
    list("process.roles").required().items(&["broker", "controller"]).not_empty().high()
        .works("What this process does: broker, controller, or both. Without it a broker with a quorum of its own starts."),
    string("broker.rack").works("Rack or zone of this broker; replicas of a partition are spread over racks."),
    list("listeners").default("PLAINTEXT://:9092").not_empty().high().per_broker()
        .works("Addresses to listen on, as NAME://host:port; an empty host means every interface."),
    list("advertised.listeners").not_empty().high()
        .works("Addresses that clients are told to connect to; without it those of listeners."),
    string("listener.security.protocol.map").default("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low().per_broker()
        .works("Security protocol of each listener, as NAME:PROTOCOL."),
    string("inter.broker.listener.name")
        .works("Listener that brokers use among themselves; not together with security.inter.broker.protocol."),
    string("security.inter.broker.protocol").default("PLAINTEXT").one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
        .works("Security protocol that brokers use among themselves, where no listener is named for that."),
    list("controller.listener.names").required().not_empty().high()
        .works("Names of the listeners that serve the controller; the first is the one brokers connect to."),
    list("early.start.listeners").high()
        .ignored("every listener opens once the broker can serve", "Listeners that open before the broker has its metadata."),
    int("socket.listen.backlog.size").default("50").at_least(1)
        .ignored("up to 1024 connections wait", "Connections that the operating system keeps waiting to be accepted."),
    int("socket.receive.buffer.bytes").default("102400").high()
        .ignored(SOCKET_BUFFERS, "Receive buffer of a client's socket in bytes; -1 leaves it to the operating system."),
    int("socket.send.buffer.bytes").default("102400").high()
        .ignored(SOCKET_BUFFERS, "Send buffer of a client's socket in bytes; -1 leaves it to the operating system."),
    int("socket.request.max.bytes").default("104857600").at_least(1).high()
        .works("Largest request in bytes; who sends a larger one is disconnected."),
    long("socket.connection.setup.timeout.ms").default("10000")
        .ignored(OWN_TIMES, "How long a connection to another node may take to open, at the first try."),
    long("socket.connection.setup.timeout.max.ms").default("30000")
        .ignored(OWN_TIMES, "Upper bound of the time for opening a connection, which grows with each failure."),
    long("connections.max.idle.ms").default("600000").works("A connection without traffic for this long is closed."),
    long("connections.max.reauth.ms").default("0")
        .refused("authentication is not there yet", "Time after which an authenticated client must prove itself again; 0 never asks."),
    int("connection.failed.authentication.delay.ms").default("100").at_least(0).low()
        .later("authentication", "How long the answer to a failed login is held back."),
    int("max.connections").default("2147483647").at_least(0).cluster_wide()
        .works("Most connections at once, over all listeners; more of them wait. With listener.name.NAME. before it, on that listener alone."),
    int("max.connections.per.ip").default("2147483647").at_least(0).cluster_wide()
        .works("Most connections at once from one address; more of them are closed."),
    string("max.connections.per.ip.overrides").default("").cluster_wide()
        .works("Limits for single addresses, as host:limit, instead of max.connections.per.ip."),
    int("max.connection.creation.rate").default("2147483647").at_least(0).cluster_wide()
        .works("Most new connections a second; more of them wait. With listener.name.NAME. before it, on that listener alone."),
    int("num.network.threads").default("3").at_least(1).high().cluster_wide()
        .ignored(THREADS, "Threads that read requests and send answers, for each listener."),
    int("num.io.threads").default("8").at_least(1).high().cluster_wide()
        .ignored(THREADS, "Threads that work on requests."),
    int("background.threads").default("10").at_least(1).high().cluster_wide()
        .ignored("background work runs on the shared pool of threads", "Threads for background work."),
    int("queued.max.requests").default("500").at_least(1).high()
        .ignored("a connection is read only while its requests are worked on", "Requests that may wait for a thread before reading stops."),
    long("queued.max.request.bytes").default("-1")
        .works("Bytes of large requests in flight before reading stops; -1 takes the built-in budget."),
    int("max.request.partition.size.limit").default("2000").at_least(1)
        .works("Most partitions in one answer to DescribeTopicPartitions."),
    int("max.incremental.fetch.session.cache.slots").default("1000").at_least(0)
        .works("Fetch sessions kept for consumers and followers."),
    int("request.timeout.ms").default("30000").high()
        .ignored(OWN_TIMES, "How long a request to another node may wait for its answer."),
    int("fetch.max.bytes").default("57671680").at_least(1024)
        .works("Most bytes of records in one answer to Fetch, however much the client asks for."),
    int("fetch.purgatory.purge.interval.requests").default("1000")
        .ignored(PARKED, "How often the store of waiting fetches is cleaned."),
    int("producer.purgatory.purge.interval.requests").default("1000")
        .ignored(PARKED, "How often the store of waiting produce requests is cleaned."),
    int("delete.records.purgatory.purge.interval.requests").default("1")
        .ignored(PARKED, "How often the store of waiting DeleteRecords requests is cleaned."),
    int("share.fetch.purgatory.purge.interval.requests").default("1000")
        .later("share groups", "How often the store of waiting share fetches is cleaned."),
    list("config.providers").default("").low().cluster_wide()
        .works("Names of the providers that fill in values from files or the environment; each has its config.providers.NAME.class."),
    boolean("unstable.api.versions.enable").default("false").high().internal()
        .ignored("versions of an API that Kafka calls unstable are not served", "Offers versions of APIs that are still in development."),
    boolean("unstable.feature.versions.enable").default("false").high().internal()
        .ignored("feature levels that Kafka calls unstable are not used", "Allows feature levels that are still in development."),
    long("server.max.startup.time.ms").default("9223372036854775807").at_least(0).internal()
        .ignored("a start either works or fails by itself", "How long the start may take before it is given up."),
];
