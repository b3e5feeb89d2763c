//! Controllers, the metadata log, registration.

use crate::config::key::{Key, Valid, boolean, int, list, long, string};

const SNAPSHOTS: &str = "the last three snapshots are kept, and the records since the oldest of them";
const LINGER: &str = "records are written at once, those that arrive meanwhile together";
const RETRIES: &str = "requests within the quorum are sent again after 30 ms";
const FETCH_BYTES: &str = "the metadata log and its snapshots are fetched 8 MiB at a time";
const NO_REQUESTS: &str = "the controller of a quorum sends brokers no requests";
const HANDS_OVER: &str = "a broker that is told to stop always hands over what it leads";
const FOR_TESTS: &str = "meant for Kafka's own tests";
const CONTROLLER_TIMES: &str = "the controller's times are metrics";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    list("controller.quorum.voters").default("").valid(Valid::Voters).high()
        .works("Voters of the quorum, as id@host:port; a quorum that can change has controller.quorum.bootstrap.servers instead."),
    list("controller.quorum.bootstrap.servers").default("").valid(Valid::Endpoints).high()
        .works("Addresses where the quorum can be found, as host:port."),
    boolean("controller.quorum.auto.join.enable").default("false").low()
        .later("a quorum that changes", "A controller that starts asks to become a voter by itself."),
    int("controller.quorum.election.timeout.ms").default("1000").at_least(0).high()
        .works("How long a candidate waits for votes before it tries again."),
    int("controller.quorum.election.backoff.max.ms").default("1000").at_least(0).high()
        .works("Longest pause before a further election."),
    int("controller.quorum.fetch.timeout.ms").default("2000").at_least(0).high()
        .works("How long a voter waits for its leader before it stands for election."),
    int("controller.quorum.fetch.max.bytes").default("1048576").at_least(1).low()
        .ignored(FETCH_BYTES, "Bytes of the metadata log in one fetch."),
    int("controller.quorum.fetch.snapshot.max.bytes").default("1048576").at_least(1).low()
        .ignored(FETCH_BYTES, "Bytes of a metadata snapshot in one fetch."),
    int("controller.quorum.append.linger.ms").default("25").at_least(0)
        .ignored(LINGER, "How long the leader gathers records before it writes them."),
    int("controller.quorum.request.timeout.ms").default("2000").at_least(0)
        .works("How long a request within the quorum may wait for its answer."),
    int("controller.quorum.retry.backoff.ms").default("20").at_least(0).low()
        .ignored(RETRIES, "Pause before a request within the quorum is sent again."),
    int("controller.socket.timeout.ms").default("30000")
        .ignored(NO_REQUESTS, "How long a request of the controller to a broker may wait."),
    int("controller.quota.window.num").default("11").at_least(1).low()
        .later("quotas", "Samples kept for the quota on changes of topics."),
    int("controller.quota.window.size.seconds").default("1").at_least(1).low()
        .later("quotas", "Length of a sample for the quota on changes of topics."),
    long("controller.performance.sample.period.ms").default("60000").at_least(100).internal()
        .ignored(CONTROLLER_TIMES, "How often the controller sums up its own times in the log."),
    long("controller.performance.always.log.threshold.ms").default("2000").at_least(0).internal()
        .ignored(CONTROLLER_TIMES, "A controller event that takes longer is logged."),
    boolean("controlled.shutdown.enable").default("true")
        .ignored(HANDS_OVER, "Hands over leaderships before the broker stops."),
    int("broker.heartbeat.interval.ms").default("2000")
        .works("How often a broker tells the controller that it is there."),
    int("broker.session.timeout.ms").default("9000").works("A broker that was silent for this long is fenced."),
    int("initial.broker.registration.timeout.ms").default("60000")
        .works("How long a broker tries to register before it gives up."),
    string("metadata.log.dir").high().works("Directory of the metadata log; without it the first of log.dirs."),
    int("metadata.log.segment.bytes").default("1073741824").at_least(8_388_608).high()
        .works("Size in bytes at which the metadata log begins a new segment."),
    long("metadata.log.segment.ms").default("604800000").high()
        .works("Age at which the metadata log begins a new segment."),
    long("metadata.log.max.record.bytes.between.snapshots").default("20971520").at_least(1).high()
        .works("Bytes of new metadata records after which a snapshot is made."),
    long("metadata.log.max.snapshot.interval.ms").default("3600000").at_least(0).high()
        .works("Time after which a snapshot is made when there are new records; 0 turns that off."),
    int("metadata.max.idle.interval.ms").default("500").at_least(0).low()
        .ignored("an idle quorum of one writes nothing", "How often the controller writes an empty record when nothing happens."),
    long("metadata.max.retention.bytes").default("104857600").high()
        .ignored(SNAPSHOTS, "Size in bytes of metadata log and snapshots above which the oldest go."),
    long("metadata.max.retention.ms").default("604800000").high()
        .ignored(SNAPSHOTS, "Age above which metadata log and snapshots go."),
    int("internal.metadata.log.segment.bytes").low().internal()
        .ignored(FOR_TESTS, "Segment size of the metadata log for tests."),
    int("internal.metadata.max.batch.size.in.bytes").default("8388608").low().internal()
        .ignored(FOR_TESTS, "Largest batch of the metadata log for tests."),
    long("internal.metadata.delete.delay.millis").default("60000").low().internal()
        .ignored(FOR_TESTS, "Delay of file deletion in the metadata log for tests."),
];
