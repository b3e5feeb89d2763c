//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only what changes, and hears only
//! of partitions with news.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use wire::codec::Str;
use wire::messages::fetch_request::FetchRequest;
use wire::{ErrorCode, Uuid};

/// A session epoch that asks for a full answer and no session.
const FINAL_EPOCH: i32 = -1;
/// A session epoch that asks for a full answer and a new session.
const INITIAL_EPOCH: i32 = 0;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;

/// A partition that a Fetch asks for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Empty when the topic is named by id.
    pub name: Str<'a>,
    pub id: Uuid,
    pub partition: i32,
    pub offset: i64,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// Where a follower's log begins.
    pub log_start_offset: i64,
    pub max_bytes: i32,
}

/// A partition within a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    name: Arc<str>,
    id: Uuid,
    partition: i32,
}

impl Wanted<'_> {
    fn key(&self) -> Key {
        Key { name: Arc::from(self.name.as_ref()), id: self.id, partition: self.partition }
    }

    fn into_owned(self) -> Wanted<'static> {
        Wanted { name: Str::Owned(self.name.into_owned()), ..self }
    }
}

/// What an answer has for a partition.
pub struct News {
    /// Nothing is said of it this time.
    pub left_out: bool,
    /// Records, an error, or a divergence: to be told in any case.
    pub urgent: bool,
    pub failed: bool,
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// What one request fetches, and for which session.
pub struct Context<'a> {
    pub wanted: Vec<Wanted<'a>>,
    session: Option<Arc<Mutex<Session>>>,
    session_id: i32,
    incremental: bool,
}

impl Context<'_> {
    /// 0 without a session.
    pub fn session_id(&self) -> i32 {
        self.session_id
    }

    /// Whether an answer need not speak of every partition.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Notes what is about to be answered; for each wanted partition, whether the answer includes it.
    pub fn answered(&self, news: impl Iterator<Item = News>) -> Vec<bool> {
        let Some(session) = &self.session else { return vec![true; self.wanted.len()] };
        let mut session = lock(session);
        self.wanted.iter().zip(news).map(|(w, n)| session.answered(&w.key(), &n) || !self.incremental).collect()
    }
}

struct Session {
    /// The epoch that the next request must carry.
    epoch: i32,
    by_id: bool,
    used_ms: i64,
    partitions: HashMap<Key, Known>,
    /// The order in which partitions are served: one that was answered with records goes to the end, so that each gets
    /// its turn at the request's byte limit.
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
}

struct Known {
    turn: u64,
    wanted: Wanted<'static>,
    /// What the client was told; -1 makes the next answer include the partition.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    fn put(&mut self, wanted: Wanted<'static>) {
        let key = wanted.key();
        if let Some(known) = self.partitions.get_mut(&key) {
            known.wanted = wanted;
            return;
        }
        self.next_turn += 1;
        self.turns.insert(self.next_turn, key.clone());
        let known = Known { turn: self.next_turn, wanted, high_watermark: -1, log_start_offset: -1 };
        self.partitions.insert(key, known);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(known) = self.partitions.remove(key) {
            self.turns.remove(&known.turn);
        }
    }

    fn wanted(&self) -> Vec<Wanted<'static>> {
        self.turns.values().filter_map(|key| Some(self.partitions.get(key)?.wanted.clone())).collect()
    }

    fn answered(&mut self, key: &Key, news: &News) -> bool {
        if news.left_out {
            return false;
        }
        let Some(known) = self.partitions.get_mut(key) else { return true };
        let included = news.urgent
            || known.high_watermark != news.high_watermark
            || known.log_start_offset != news.log_start_offset;
        // An error is told again until it is over.
        known.high_watermark = if news.failed { -1 } else { news.high_watermark };
        known.log_start_offset = news.log_start_offset;
        if included {
            self.next_turn += 1;
            self.turns.remove(&known.turn);
            known.turn = self.next_turn;
            self.turns.insert(known.turn, key.clone());
        }
        included
    }
}

/// The sessions of all clients, bounded in number.
pub struct FetchSessions {
    slots: usize,
    /// A session unused for this long may give its slot to another (`min.incremental.fetch.session.eviction.ms`).
    eviction_ms: i64,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<i32, Arc<Mutex<Session>>>,
}

impl FetchSessions {
    /// `slots` is `max.incremental.fetch.session.cache.slots`.
    pub fn new(slots: usize, eviction_ms: i64) -> FetchSessions {
        FetchSessions { slots, eviction_ms, sessions: Mutex::default() }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.sessions).by_id.len()
    }

    /// What a request fetches.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR: the client starts over.
    pub fn context<'a>(&self, request: &FetchRequest<'a>, version: i16, now_ms: i64) -> Result<Context<'a>, ErrorCode> {
        let wanted: Vec<Wanted<'a>> = request
            .topics
            .iter()
            .flat_map(|topic| {
                let (name, id) = (topic.topic.clone(), topic.topic_id);
                let partitions = topic.partitions.clone();
                partitions.to_vec().into_iter().map(move |p| Wanted {
                    name: name.clone(),
                    id,
                    partition: p.partition,
                    offset: p.fetch_offset,
                    current_leader_epoch: p.current_leader_epoch,
                    last_fetched_epoch: p.last_fetched_epoch,
                    log_start_offset: p.log_start_offset,
                    max_bytes: p.partition_max_bytes,
                })
            })
            .collect();
        let by_id = version >= TOPIC_IDS_FROM;
        match request.session_epoch {
            FINAL_EPOCH | INITIAL_EPOCH => {
                let mut sessions = lock(&self.sessions);
                sessions.by_id.remove(&request.session_id);
                if request.session_epoch == FINAL_EPOCH || wanted.is_empty() {
                    return Ok(Context { wanted, session: None, session_id: 0, incremental: false });
                }
                let created = self.create(&mut sessions, &wanted, by_id, now_ms);
                let session_id = created.as_ref().map_or(0, |(id, _)| *id);
                Ok(Context { wanted, session: created.map(|(_, s)| s), session_id, incremental: false })
            }
            epoch => {
                let mut sessions = lock(&self.sessions);
                let found = sessions.by_id.get(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?.clone();
                let mut session = lock(&found);
                if session.epoch != epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                if session.by_id != by_id {
                    return Err(ErrorCode::FetchSessionTopicIdError);
                }
                session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
                session.used_ms = now_ms;
                for wanted in wanted {
                    session.put(wanted.into_owned());
                }
                for topic in &request.forgotten_topics_data {
                    for partition in &topic.partitions {
                        let name = Arc::from(topic.topic.as_ref());
                        session.forget(&Key { name, id: topic.topic_id, partition: *partition });
                    }
                }
                let wanted = session.wanted();
                drop(session);
                if wanted.is_empty() {
                    sessions.by_id.remove(&request.session_id);
                    return Ok(Context { wanted, session: None, session_id: 0, incremental: false });
                }
                Ok(Context { wanted, session: Some(found), session_id: request.session_id, incremental: true })
            }
        }
    }

    /// A new session, or `None` when all slots are in use.
    fn create(
        &self,
        sessions: &mut Sessions,
        wanted: &[Wanted<'_>],
        by_id: bool,
        now_ms: i64,
    ) -> Option<(i32, Arc<Mutex<Session>>)> {
        if sessions.by_id.len() >= self.slots {
            let oldest = sessions.by_id.iter().map(|(id, s)| (lock(s).used_ms, *id)).min()?;
            if now_ms - oldest.0 < self.eviction_ms {
                return None;
            }
            sessions.by_id.remove(&oldest.1);
        }
        let mut session = Session {
            epoch: 1,
            by_id,
            used_ms: now_ms,
            partitions: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
        };
        for wanted in wanted {
            session.put(wanted.clone().into_owned());
        }
        // Chance, as in Kafka: a client that goes on with its session after a restart must not meet somebody else's, whose
        // partitions are at other offsets.
        let mut chance = crate::chance::random();
        let id = loop {
            let id = (chance() >> 33) as i32;
            if id != 0 && !sessions.by_id.contains_key(&id) {
                break id;
            }
        };
        let session = Arc::new(Mutex::new(session));
        sessions.by_id.insert(id, session.clone());
        Some((id, session))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest<'static> {
        let partitions: Vec<_> =
            partitions.iter().map(|p| FetchPartition { partition: *p, ..Default::default() }).collect();
        let topics = match partitions.is_empty() {
            true => Vec::new(),
            false => vec![FetchTopic { topic: "t".into(), partitions: partitions.into(), ..Default::default() }],
        };
        FetchRequest { session_id, session_epoch, topics: topics.into(), ..Default::default() }
    }

    fn news(high_watermark: i64) -> News {
        News { left_out: false, urgent: false, failed: false, high_watermark, log_start_offset: 0 }
    }

    fn indexes(context: &Context<'_>) -> Vec<i32> {
        context.wanted.iter().map(|w| w.partition).collect()
    }

    fn open(sessions: &FetchSessions) -> i32 {
        let context = sessions.context(&request(0, 0, &[0, 1, 2]), 12, 0).unwrap();
        assert_eq!(context.answered([5, 5, 5].map(news).into_iter()), [true; 3]);
        context.session_id()
    }

    #[test]
    fn a_session_hears_only_of_partitions_with_news() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let context = sessions.context(&request(id, 1, &[]), 12, 0).unwrap();
        assert_eq!((context.session_id(), indexes(&context)), (id, vec![0, 1, 2]));
        assert_eq!(context.answered([5, 6, 5].map(news).into_iter()), [false, true, false]);
    }

    #[test]
    fn a_partition_with_news_goes_to_the_end_of_the_line() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let context = sessions.context(&request(id, 1, &[]), 12, 0).unwrap();
        context.answered([6, 5, 5].map(news).into_iter());
        let context = sessions.context(&request(id, 2, &[]), 12, 0).unwrap();
        assert_eq!(indexes(&context), [1, 2, 0]);
    }

    #[test]
    fn an_error_is_told_until_it_is_over_and_the_recovery_once() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let failed = || News { left_out: false, urgent: true, failed: true, high_watermark: -1, log_start_offset: -1 };
        for (epoch, told) in [(1, true), (2, true)] {
            let context = sessions.context(&request(id, epoch, &[]), 12, 0).unwrap();
            let answered =
                context.answered(context.wanted.iter().map(|w| if w.partition == 1 { failed() } else { news(5) }));
            let at = context.wanted.iter().position(|w| w.partition == 1).unwrap();
            assert_eq!(answered[at], told);
        }
        for (epoch, told) in [(3, true), (4, false)] {
            let context = sessions.context(&request(id, epoch, &[]), 12, 0).unwrap();
            let answered = context.answered(context.wanted.iter().map(|_| news(5)));
            let at = context.wanted.iter().position(|w| w.partition == 1).unwrap();
            assert_eq!(answered[at], told, "epoch {epoch}");
        }
    }

    #[test]
    fn what_is_left_out_is_told_next_time_if_it_is_news_then() {
        let sessions = FetchSessions::new(10, 1000);
        let id = open(&sessions);
        let context = sessions.context(&request(id, 1, &[]), 12, 0).unwrap();
        let left_out = || News { left_out: true, ..news(-1) };
        assert_eq!(context.answered([left_out(), left_out()].into_iter()), [false, false]);
        let context = sessions.context(&request(id, 2, &[]), 12, 0).unwrap();
        assert_eq!(context.answered([news(5), news(6)].into_iter()), [false, true]);
    }

    #[test]
    fn partitions_are_added_changed_and_forgotten() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let mut change = request(id, 1, &[3]);
        let forgotten = ForgottenTopic { topic: "t".into(), partitions: vec![0, 1].into(), ..Default::default() };
        change.forgotten_topics_data = vec![forgotten].into();
        assert_eq!(indexes(&sessions.context(&change, 12, 0).unwrap()), [2, 3]);
    }

    #[test]
    fn a_session_without_partitions_ends() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let mut change = request(id, 1, &[]);
        let forgotten = ForgottenTopic { topic: "t".into(), partitions: vec![0, 1, 2].into(), ..Default::default() };
        change.forgotten_topics_data = vec![forgotten].into();
        assert_eq!(sessions.context(&change, 12, 0).unwrap().session_id(), 0);
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn what_does_not_fit_the_session_starts_over() {
        let sessions = FetchSessions::new(10, 0);
        let id = open(&sessions);
        let error = |request, version| sessions.context(&request, version, 0).err();
        assert_eq!(error(request(id + 1, 1, &[]), 12), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(error(request(id, 2, &[]), 12), Some(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(error(request(id, 1, &[]), 13), Some(ErrorCode::FetchSessionTopicIdError));
        assert!(sessions.context(&request(id, FINAL_EPOCH, &[0]), 12, 0).unwrap().session.is_none());
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn ids_of_one_process_do_not_fit_the_sessions_of_the_next() {
        let ids = || {
            let sessions = FetchSessions::new(10, 0);
            [(); 5].map(|()| open(&sessions))
        };
        let (before, after) = (ids(), ids());
        assert!(before.iter().all(|id| *id > 0 && !after.contains(id)), "{before:?} {after:?}");
    }

    #[test]
    fn slots_are_bounded_and_only_old_sessions_give_theirs_up() {
        let sessions = FetchSessions::new(1, 1000);
        let first = sessions.context(&request(0, 0, &[0]), 12, 0).unwrap().session_id();
        assert!(first > 0);
        assert_eq!(sessions.context(&request(0, 0, &[0]), 12, 999).unwrap().session_id(), 0);
        assert!(sessions.context(&request(0, 0, &[0]), 12, 1000).unwrap().session_id() > 0);
        assert_eq!(sessions.context(&request(first, 1, &[]), 12, 1000).err(), Some(ErrorCode::FetchSessionIdNotFound));
    }
}
