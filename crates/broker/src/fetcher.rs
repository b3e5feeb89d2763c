//! What this node fetches from one leader: which partitions, from where, in which fetch session (KIP-227), and when to try
//! again what failed.
//!
//! One request is under way at a time. [`Fetcher::request`] builds it; [`Fetcher::answered`] looks at the answer as a whole;
//! then each partition in it goes to its replica ([`replication::Partition::take_answer`]), and what became of it comes back
//! by [`Fetcher::advance`] or [`Fetcher::rest`]. When no answer comes, [`Fetcher::disconnected`] says how long to wait.

use metadata::image::TopicIdPartition;
use replication::Position;
use std::collections::BTreeMap;
use wire::ErrorCode;
use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};
use wire::messages::fetch_response::FetchResponse;

/// The rest after a first failure, in ms; it doubles with each that follows, up to `replica.fetch.backoff.ms`. A leader
/// often learns a moment later than its followers that it is one.
const FIRST_REST_MS: i64 = 10;

/// `replica.fetch.*` and who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSettings {
    pub node_id: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    /// For all partitions of a request.
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub backoff_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
    partitions: BTreeMap<TopicIdPartition, Fetching>,
    session: Session,
    /// Connections that broke one after the other.
    broken: u32,
}

#[derive(Debug)]
struct Fetching {
    position: Position,
    /// Not fetched before this time.
    resting_until_ms: i64,
    failures: u32,
}

/// What the leader remembers of this fetcher.
#[derive(Debug, Default)]
struct Session {
    /// 0 while there is none.
    id: i32,
    /// Of the next request; 0 asks for a new session.
    epoch: i32,
    /// The partitions in it, as the leader was told of them last.
    partitions: BTreeMap<TopicIdPartition, Position>,
}

/// What is to be done about a partition in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The replica takes it.
    Take,
    /// Where the leader's log begins and ends has to be asked for ([`replication::Partition::out_of_range`]).
    AskForRange,
    /// It will pass: the leader does not know yet that it leads, or this node that another one does.
    Rest,
    /// Somebody should know of it.
    Complain,
}

impl Verdict {
    pub fn of(error: ErrorCode) -> Verdict {
        match error {
            ErrorCode::None => Verdict::Take,
            ErrorCode::OffsetOutOfRange => Verdict::AskForRange,
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::InconsistentTopicId
            | ErrorCode::ReplicaNotAvailable => Verdict::Rest,
            _ => Verdict::Complain,
        }
    }
}

impl Fetcher {
    pub fn new(settings: FetchSettings) -> Fetcher {
        Fetcher { settings, partitions: BTreeMap::new(), session: Session::default(), broken: 0 }
    }

    pub fn set_settings(&mut self, settings: FetchSettings) {
        self.settings = settings;
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Fetches a partition from `position` on, at once.
    pub fn add(&mut self, key: TopicIdPartition, position: Position) {
        self.partitions.insert(key, Fetching { position, resting_until_ms: i64::MIN, failures: 0 });
    }

    /// Fetches a partition no more.
    pub fn remove(&mut self, key: TopicIdPartition) {
        self.partitions.remove(&key);
    }

    /// Where a partition is going to be asked for from.
    pub fn position(&self, key: TopicIdPartition) -> Option<Position> {
        self.partitions.get(&key).map(|fetching| fetching.position)
    }

    pub fn partitions(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.partitions.keys().copied()
    }

    /// The next request, under the broker's current epoch (KIP-903); `None` while there is nothing to ask for.
    pub fn request(&mut self, broker_epoch: i64, now_ms: i64) -> Option<FetchRequest<'static>> {
        // Nothing rests for longer than that: the clock was set back meanwhile.
        let latest_ms = now_ms.saturating_add(self.settings.backoff_ms);
        let is_due = |at_ms: i64| at_ms <= now_ms || at_ms > latest_ms;
        let due = self.partitions.iter().filter(|(_, fetching)| is_due(fetching.resting_until_ms));
        let wanted: BTreeMap<TopicIdPartition, Position> = due.map(|(key, f)| (*key, f.position)).collect();
        if wanted.is_empty() {
            return None;
        }
        let rested_ms =
            self.partitions.values().map(|fetching| fetching.resting_until_ms).filter(|at| *at > now_ms).min();
        let session = &mut self.session;
        if session.id == 0 {
            (session.epoch, session.partitions) = (0, BTreeMap::new());
        }
        let settings = &self.settings;
        let mut topics: Vec<FetchTopic<'static>> = Vec::new();
        let mut partitions = Vec::new();
        let mut changed = wanted.iter().filter(|(key, p)| session.partitions.get(key) != Some(p)).peekable();
        while let Some((key, position)) = changed.next() {
            partitions.push(FetchPartition {
                partition: key.partition,
                current_leader_epoch: position.leader_epoch,
                fetch_offset: position.offset,
                last_fetched_epoch: position.last_fetched_epoch,
                log_start_offset: position.log_start_offset,
                partition_max_bytes: settings.partition_max_bytes,
                ..Default::default()
            });
            if changed.peek().is_none_or(|(next, _)| next.topic_id != key.topic_id) {
                let partitions = std::mem::take(&mut partitions).into();
                topics.push(FetchTopic { topic_id: key.topic_id, partitions, ..Default::default() });
            }
        }
        let mut forgotten: Vec<ForgottenTopic<'static>> = Vec::new();
        let mut indexes = Vec::new();
        let mut dropped = session.partitions.keys().filter(|key| !wanted.contains_key(key)).peekable();
        while let Some(key) = dropped.next() {
            indexes.push(key.partition);
            if dropped.peek().is_none_or(|next| next.topic_id != key.topic_id) {
                let partitions = std::mem::take(&mut indexes).into();
                forgotten.push(ForgottenTopic { topic_id: key.topic_id, partitions, ..Default::default() });
            }
        }
        session.partitions = wanted;
        Some(FetchRequest {
            replica_id: settings.node_id,
            replica_state: ReplicaState { replica_id: settings.node_id, replica_epoch: broker_epoch },
            // Whoever rests is asked for when its rest is over, however little there is of the others until then.
            max_wait_ms: i64::from(settings.max_wait_ms).min(rested_ms.map_or(i64::MAX, |at_ms| at_ms - now_ms)) as i32,
            min_bytes: settings.min_bytes,
            max_bytes: settings.max_bytes,
            session_id: session.id,
            session_epoch: session.epoch,
            topics: topics.into(),
            forgotten_topics_data: forgotten.into(),
            ..Default::default()
        })
    }

    /// Where a partition was asked for from, by the request that is under way or was just answered.
    pub fn asked(&self, key: TopicIdPartition) -> Option<Position> {
        self.session.partitions.get(&key).copied()
    }

    /// Looks at an answer as a whole. Whether its partitions are to be looked at.
    ///
    /// # Errors
    /// What the leader refused the request with; a lost session is none, the next request begins another one.
    pub fn answered(&mut self, response: &FetchResponse<'_>) -> Result<bool, ErrorCode> {
        self.broken = 0;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError => {
                self.session.id = 0;
                return Ok(false);
            }
            error => {
                self.session.id = 0;
                return Err(error);
            }
        }
        let session = &mut self.session;
        session.id = response.session_id;
        session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
        Ok(true)
    }

    /// The replica has come to `position`.
    pub fn advance(&mut self, key: TopicIdPartition, position: Position) {
        if let Some(fetching) = self.partitions.get_mut(&key) {
            *fetching = Fetching { position, resting_until_ms: i64::MIN, failures: 0 };
        }
    }

    /// The partition is not to be asked for again at once.
    pub fn rest(&mut self, key: TopicIdPartition, now_ms: i64) {
        if let Some(fetching) = self.partitions.get_mut(&key) {
            fetching.resting_until_ms = now_ms + rest_ms(fetching.failures, self.settings.backoff_ms);
            fetching.failures += 1;
        }
    }

    /// The connection broke, or none could be made: how long to rest before the next one, in ms. The first time not at
    /// all, for an idle connection may have been closed.
    pub fn disconnected(&mut self) -> i64 {
        self.session = Session::default();
        self.broken += 1;
        if self.broken == 1 { 0 } else { rest_ms(self.broken - 2, self.settings.backoff_ms) }
    }

    /// Nobody waits for the answer any more; the leader's session goes on without this fetcher.
    pub fn abandon(&mut self) {
        self.session = Session::default();
    }

    /// When the first of the resting partitions is to be asked for again; `None` where none rests.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.partitions.values().map(|fetching| fetching.resting_until_ms).filter(|at| *at > i64::MIN).min()
    }
}

fn rest_ms(failures: u32, most_ms: i64) -> i64 {
    (FIRST_REST_MS << failures.min(20)).min(most_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Uuid;

    const SETTINGS: FetchSettings = FetchSettings {
        node_id: 2,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1000,
        partition_max_bytes: 100,
        backoff_ms: 1000,
    };

    fn key(topic: u8, partition: i32) -> TopicIdPartition {
        TopicIdPartition { topic_id: Uuid([topic; 16]), partition }
    }

    fn at(offset: i64) -> Position {
        Position { leader: 1, leader_epoch: 5, offset, last_fetched_epoch: 4, log_start_offset: 0 }
    }

    fn answer(session_id: i32, error: ErrorCode) -> FetchResponse<'static> {
        FetchResponse { session_id, error_code: error.code(), ..Default::default() }
    }

    /// Partitions with the offsets asked for.
    fn asked(request: &FetchRequest<'_>) -> Vec<(u8, i32, i64)> {
        let topics = request.topics.iter();
        topics
            .flat_map(|t| {
                t.partitions.to_vec().into_iter().map(move |p| (t.topic_id.0[0], p.partition, p.fetch_offset))
            })
            .collect()
    }

    fn forgotten(request: &FetchRequest<'_>) -> Vec<(u8, i32)> {
        let topics = request.forgotten_topics_data.iter();
        topics.flat_map(|t| t.partitions.to_vec().into_iter().map(move |p| (t.topic_id.0[0], p))).collect()
    }

    fn fetcher() -> Fetcher {
        let mut fetcher = Fetcher::new(SETTINGS);
        for (topic, partition, offset) in [(1, 0, 10), (1, 1, 20), (2, 0, 30)] {
            fetcher.add(key(topic, partition), at(offset));
        }
        fetcher
    }

    #[test]
    fn a_session_is_told_only_what_changed() {
        let mut fetcher = fetcher();
        let first = fetcher.request(77, 0).unwrap();
        assert_eq!((first.session_id, first.session_epoch), (0, 0));
        assert_eq!((first.replica_state.replica_id, first.replica_state.replica_epoch), (2, 77));
        assert_eq!(asked(&first), [(1, 0, 10), (1, 1, 20), (2, 0, 30)]);
        assert_eq!(fetcher.answered(&answer(9, ErrorCode::None)), Ok(true));
        fetcher.advance(key(1, 1), at(25));
        fetcher.remove(key(2, 0));
        let second = fetcher.request(77, 0).unwrap();
        assert_eq!((second.session_id, second.session_epoch), (9, 1));
        assert_eq!((asked(&second), forgotten(&second)), (vec![(1, 1, 25)], vec![(2, 0)]));
        assert_eq!(fetcher.asked(key(1, 0)), Some(at(10)), "in the session, though not in the request");
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        let third = fetcher.request(77, 0).unwrap();
        assert_eq!((third.session_epoch, asked(&third), forgotten(&third)), (2, vec![], vec![]));
    }

    #[test]
    fn a_lost_session_begins_anew_with_everything() {
        for error in [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch] {
            let mut fetcher = fetcher();
            fetcher.request(77, 0);
            fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
            fetcher.request(77, 0);
            assert_eq!(fetcher.answered(&answer(0, error)), Ok(false));
            let again = fetcher.request(77, 0).unwrap();
            assert_eq!((again.session_id, again.session_epoch, asked(&again).len()), (0, 0, 3));
        }
    }

    #[test]
    fn without_sessions_each_request_has_everything() {
        let mut fetcher = fetcher();
        for _ in 0..3 {
            let request = fetcher.request(77, 0).unwrap();
            assert_eq!((request.session_epoch, asked(&request).len()), (0, 3));
            fetcher.answered(&answer(0, ErrorCode::None)).unwrap();
        }
    }

    #[test]
    fn what_failed_rests_longer_each_time_and_is_out_of_the_session_meanwhile() {
        let mut fetcher = fetcher();
        fetcher.request(77, 0);
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        fetcher.rest(key(1, 0), 100);
        let without = fetcher.request(77, 105).unwrap();
        assert_eq!((asked(&without), forgotten(&without)), (vec![], vec![(1, 0)]));
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        assert_eq!(fetcher.next_due_ms(), Some(110));
        let with = fetcher.request(77, 110).unwrap();
        assert_eq!(asked(&with), [(1, 0, 10)]);
        let rests: Vec<i64> = (0..10)
            .map(|_| {
                fetcher.rest(key(1, 0), 0);
                fetcher.next_due_ms().unwrap()
            })
            .collect();
        assert_eq!(rests, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000]);
        fetcher.advance(key(1, 0), at(11));
        assert_eq!(fetcher.next_due_ms(), None);
    }

    /// A leader that knows of one partition that it leads and not yet of the other has nothing to send for the first.
    #[test]
    fn a_rest_ends_in_time_though_nothing_comes_for_the_others() {
        let mut fetcher = fetcher();
        assert_eq!(fetcher.request(77, 100).unwrap().max_wait_ms, 500);
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        fetcher.rest(key(1, 0), 100);
        assert_eq!(fetcher.request(77, 103).unwrap().max_wait_ms, 7);
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        let again = fetcher.request(77, 110).unwrap();
        assert_eq!((asked(&again), again.max_wait_ms), (vec![(1, 0, 10)], 500));
        (0..20).for_each(|_| fetcher.rest(key(1, 0), 110));
        assert_eq!(fetcher.request(77, 111).unwrap().max_wait_ms, 500, "no longer than it would be anyway");
    }

    #[test]
    fn a_broken_connection_is_made_again_at_once_and_then_after_a_rest() {
        let mut fetcher = fetcher();
        fetcher.request(77, 0);
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        assert_eq!([(); 4].map(|()| fetcher.disconnected()), [0, 10, 20, 40]);
        assert_eq!(asked(&fetcher.request(77, 0).unwrap()).len(), 3);
        fetcher.answered(&answer(9, ErrorCode::None)).unwrap();
        assert_eq!(fetcher.disconnected(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_rest_longer() {
        let mut fetcher = fetcher();
        fetcher.rest(key(1, 0), 3_600_000);
        assert_eq!(asked(&fetcher.request(77, 3_600_000).unwrap()).len(), 2);
        fetcher.answered(&answer(0, ErrorCode::None)).unwrap();
        assert_eq!(asked(&fetcher.request(77, 0).unwrap()).len(), 3);
    }

    #[test]
    fn nothing_to_ask_for_is_no_request() {
        let mut fetcher = Fetcher::new(SETTINGS);
        assert!(fetcher.request(77, 0).is_none());
        fetcher.add(key(1, 0), at(0));
        fetcher.rest(key(1, 0), 0);
        assert!(fetcher.request(77, 5).is_none());
    }
}
