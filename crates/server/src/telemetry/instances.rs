//! The clients that take part in telemetry, and what is asked of each: Kafka's rules, without clock or sockets.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metadata::config::client_metrics::{Client, Subscription};
use wire::{ErrorCode, Uuid};

/// Clients that are known at once, as in Kafka; the one that was silent for longest makes room.
const INSTANCES_MAX: usize = 16_384;
/// A client is forgotten after this time, or three of its intervals if that is longer.
const EXPIRY_MS: i64 = 60_000;
/// Where it is full, those go that were silent for longest: this part of the time since anybody's last word.
const MADE_ROOM: i64 = 64;
/// Without a subscription a client asks again after this time.
const INTERVAL_MS: i32 = 300_000;
/// The whole of the metrics.
const ALL: &str = "*";

/// What a client is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names the metrics and the interval; the same on every broker.
    pub subscription_id: i32,
    pub metrics: Vec<String>,
    pub interval_ms: i32,
}

#[derive(Debug)]
struct Instance {
    request: Request,
    /// Of the subscriptions that the request follows from.
    version: u64,
    got_ms: Option<i64>,
    pushed_ms: Option<i64>,
    used_ms: i64,
    is_terminating: bool,
    last_error: ErrorCode,
}

/// See the module. Times are ms of a clock that only goes forward.
#[derive(Debug, Default)]
pub struct Instances {
    known: HashMap<Uuid, Instance>,
    subscriptions: Arc<Vec<Subscription>>,
    version: u64,
}

/// What is checked of a push before its content.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    pub subscription_id: i32,
    pub is_terminating: bool,
    pub has_known_codec: bool,
    pub is_too_large: bool,
}

impl Instances {
    /// Takes new subscriptions; every client gets to hear of them at its next word.
    pub fn subscribe(&mut self, subscriptions: Vec<Subscription>) {
        self.subscriptions = Arc::new(subscriptions);
        self.version += 1;
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// A client asks what it is to push.
    pub fn get(&mut self, id: Uuid, client: &Client, now_ms: i64) -> Result<Request, ErrorCode> {
        let instance = self.instance(id, client, now_ms);
        let interval_ms = i64::from(instance.request.interval_ms);
        let last = instance.got_ms.max(instance.pushed_ms);
        let is_due = last.is_none_or(|last| now_ms - last >= interval_ms);
        // A client that was told that its subscription is no more asks at once.
        let was_sent =
            matches!(instance.last_error, ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType);
        if !is_due && !was_sent {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if is_due {
            instance.got_ms = Some(now_ms);
        }
        instance.last_error = ErrorCode::None;
        Ok(instance.request.clone())
    }

    /// A client pushes: whether it may.
    pub fn push(&mut self, id: Uuid, client: &Client, push: Push, now_ms: i64) -> Result<(), ErrorCode> {
        let instance = self.instance(id, client, now_ms);
        let result = instance.check(push, now_ms);
        instance.last_error = result.err().unwrap_or(ErrorCode::None);
        instance.is_terminating = push.is_terminating;
        result
    }

    /// What became of a push that was admitted.
    pub fn failed(&mut self, id: Uuid, error: ErrorCode) {
        if let Some(instance) = self.known.get_mut(&id) {
            instance.last_error = error;
        }
    }

    /// Forgets the clients that said nothing for long.
    pub fn expire(&mut self, now_ms: i64) {
        self.known.retain(|_, instance| {
            now_ms - instance.used_ms <= EXPIRY_MS.max(3 * i64::from(instance.request.interval_ms))
        });
    }

    /// Has a client go, if it is full, for another to come.
    pub fn make_room(&mut self, id: Uuid, now_ms: i64) {
        if self.known.len() < INSTANCES_MAX || self.known.contains_key(&id) {
            return;
        }
        self.expire(now_ms);
        // The one that was silent for longest, with others as old, so that not every newcomer looks through all.
        let Some(oldest_ms) = self.known.values().map(|instance| instance.used_ms).min() else { return };
        let newest_ms = self.known.values().map(|instance| instance.used_ms).max().unwrap_or(oldest_ms);
        let limit_ms = oldest_ms + (newest_ms - oldest_ms) / MADE_ROOM;
        if self.known.len() >= INSTANCES_MAX {
            self.known.retain(|_, instance| instance.used_ms > limit_ms);
        }
    }

    pub fn knows(&self, id: &Uuid) -> bool {
        self.known.contains_key(id)
    }

    fn instance(&mut self, id: Uuid, client: &Client, now_ms: i64) -> &mut Instance {
        let (version, subscriptions) = (self.version, self.subscriptions.clone());
        let new = || Instance {
            request: request(&subscriptions, id, client),
            version,
            got_ms: None,
            pushed_ms: None,
            used_ms: now_ms,
            is_terminating: false,
            last_error: ErrorCode::None,
        };
        let instance = self.known.entry(id).or_insert_with(new);
        if instance.version != version {
            *instance = new();
        }
        instance.used_ms = now_ms;
        instance
    }
}

impl Instance {
    fn check(&mut self, push: Push, now_ms: i64) -> Result<(), ErrorCode> {
        if self.is_terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        // The first push after asking comes whenever the client likes: it spreads them itself.
        let is_first = self.got_ms > self.pushed_ms;
        let interval_ms = i64::from(self.request.interval_ms);
        let is_due = is_first || self.pushed_ms.is_none_or(|last| now_ms - last >= interval_ms);
        if is_due {
            self.pushed_ms = Some(now_ms);
        }
        match () {
            () if !is_due && !push.is_terminating => Err(ErrorCode::ThrottlingQuotaExceeded),
            () if push.subscription_id != self.request.subscription_id => Err(ErrorCode::UnknownSubscriptionId),
            () if !push.has_known_codec => Err(ErrorCode::UnsupportedCompressionType),
            () if push.is_too_large => Err(ErrorCode::TelemetryTooLarge),
            () => Ok(()),
        }
    }
}

/// What all subscriptions that match a client ask for together.
fn request(subscriptions: &[Subscription], id: Uuid, client: &Client) -> Request {
    let matching = || subscriptions.iter().filter(|subscription| subscription.matches(client));
    let interval_ms = matching().map(|subscription| subscription.interval_ms).min();
    let interval_ms = interval_ms.map_or(INTERVAL_MS, |ms| ms.min(INTERVAL_MS));
    let mut metrics: BTreeSet<&str> =
        matching().flat_map(|subscription| subscription.metrics.iter().map(String::as_str)).collect();
    if metrics.contains(ALL) {
        metrics = BTreeSet::from([ALL]);
    }
    let metrics: Vec<String> = metrics.into_iter().map(str::to_owned).collect();
    let fold =
        id.0.chunks_exact(4).fold(0, |fold, four| fold ^ u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    let subscription_id = (crc32c::crc32c(format!("{}{interval_ms}", metrics.join(",")).as_bytes()) ^ fold) as i32;
    Request { subscription_id, metrics, interval_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const ID: Uuid = Uuid::from_u128(77);

    fn client(id: &str) -> Client {
        Client {
            instance_id: "i".to_owned(),
            id: Some(id.to_owned()),
            software_name: "s".to_owned(),
            software_version: "1".to_owned(),
            source_address: "127.0.0.1".to_owned(),
            source_port: "9".to_owned(),
        }
    }

    fn subscription(metrics: &str, interval_ms: &str, of: &str) -> Subscription {
        let own = [("metrics", metrics), ("interval.ms", interval_ms), ("match", of)];
        Subscription::new(&BTreeMap::from(own.map(|(k, v)| (k.to_owned(), v.to_owned())))).unwrap()
    }

    fn instances(all: Vec<Subscription>) -> Instances {
        let mut instances = Instances::default();
        instances.subscribe(all);
        instances
    }

    fn push_of(subscription_id: i32) -> Push {
        Push { subscription_id, is_terminating: false, has_known_codec: true, is_too_large: false }
    }

    #[test]
    fn all_subscriptions_that_match_count_together() {
        let all = || {
            vec![
                subscription("a.,b.", "5000", "client_id=x.*"),
                subscription("b.,c.", "1000", ""),
                subscription("*", "100", "client_id=other"),
            ]
        };
        let request = instances(all()).get(ID, &client("x1"), 0).unwrap();
        assert_eq!((request.metrics.join(" "), request.interval_ms), ("a. b. c.".to_owned(), 1000));
        // Another broker with the same subscriptions has the same id for it, and another client another one.
        assert_eq!(instances(all()).get(ID, &client("x1"), 9).unwrap(), request);
        assert_ne!(instances(all()).get(Uuid::ONE, &client("x1"), 9).unwrap().subscription_id, request.subscription_id);
        let request = instances(all()).get(ID, &client("other"), 0).unwrap();
        assert_eq!((request.metrics.join(" "), request.interval_ms), ("*".to_owned(), 100));
        let request = instances(Vec::new()).get(ID, &client("x"), 0).unwrap();
        assert_eq!((request.metrics.len(), request.interval_ms), (0, INTERVAL_MS));
    }

    #[test]
    fn a_client_pushes_once_in_an_interval_and_the_first_time_at_once() {
        let mut all = instances(vec![subscription("*", "1000", "")]);
        let client = client("x");
        let id = all.get(ID, &client, 0).unwrap().subscription_id;
        assert_eq!(all.get(ID, &client, 10), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(all.push(ID, &client, push_of(id), 10), Ok(()));
        assert_eq!(all.push(ID, &client, push_of(id), 1009), Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(all.push(ID, &client, push_of(id), 1010), Ok(()));
        // Its last words are taken at any time, and are its last.
        let last = Push { is_terminating: true, ..push_of(id) };
        assert_eq!(all.push(ID, &client, last, 1020), Ok(()));
        assert_eq!(all.push(ID, &client, push_of(id), 5000), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn wrong_pushes_are_refused_each_with_its_code() {
        let client = client("x");
        let refused = |change: &dyn Fn(Push) -> Push| {
            let mut all = instances(vec![subscription("*", "1000", "")]);
            let id = all.get(ID, &client, 0).unwrap().subscription_id;
            let error = all.push(ID, &client, change(push_of(id)), 10).unwrap_err();
            (error, all.get(ID, &client, 11).is_ok())
        };
        let unknown = refused(&|push| Push { subscription_id: push.subscription_id ^ 1, ..push });
        assert_eq!(unknown, (ErrorCode::UnknownSubscriptionId, true), "such a client may ask again at once");
        let codec = refused(&|push| Push { has_known_codec: false, ..push });
        assert_eq!(codec, (ErrorCode::UnsupportedCompressionType, true));
        let large = refused(&|push| Push { is_too_large: true, ..push });
        assert_eq!(large, (ErrorCode::TelemetryTooLarge, false));
    }

    #[test]
    fn other_subscriptions_are_told_at_once() {
        let mut all = instances(vec![subscription("a.", "1000", "")]);
        let client = client("x");
        let before = all.get(ID, &client, 0).unwrap();
        all.subscribe(vec![subscription("b.", "1000", "")]);
        assert_eq!(all.push(ID, &client, push_of(before.subscription_id), 10), Err(ErrorCode::UnknownSubscriptionId));
        assert_eq!(all.get(ID, &client, 20).unwrap().metrics, ["b."]);
    }

    #[test]
    fn silent_clients_are_forgotten() {
        let mut all = instances(vec![subscription("*", "30000", "")]);
        all.get(ID, &client("x"), 0).unwrap();
        all.expire(90_000);
        assert!(all.knows(&ID));
        all.expire(90_001);
        assert_eq!(all.len(), 0);
        for i in 0..INSTANCES_MAX as u128 {
            all.make_room(Uuid::from_u128(i), i as i64);
            all.get(Uuid::from_u128(i), &client("x"), i as i64).unwrap();
        }
        assert_eq!(all.len(), INSTANCES_MAX);
        all.make_room(Uuid::from_u128(5), INSTANCES_MAX as i64);
        assert_eq!(all.len(), INSTANCES_MAX, "it has its place already");
        all.make_room(Uuid::from_u128(1 << 40), INSTANCES_MAX as i64);
        assert!(!all.knows(&Uuid::from_u128(0)) && all.knows(&Uuid::from_u128(1000)));
        assert!((INSTANCES_MAX - 300..INSTANCES_MAX).contains(&all.len()));
    }
}
