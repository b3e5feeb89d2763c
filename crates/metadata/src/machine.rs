//! The pattern of everything that decides: *decide → commit → apply → answer*.
//!
//! A machine has one [`State`]. A command decides records and a reply from it; the records are committed to a
//! log; applying them is the only thing that changes the state; then the reply goes out. Commands that arrive together
//! form a batch: each sees the records of those before it, because the batch works on a copy. States are made
//! of persistent maps, so the copy costs nothing and the price of a batch follows what it changes.
//!
//! Invariant: [`Machine::published`] never shows a record that is not committed, and no reply leaves
//! before its records are published. Several batches may be in flight; a failure drops all of them, for the later ones
//! were decided on top of the earlier.
//!
//! Two exceptions by name: soft state (heartbeats, timers, locks) lives beside the machine and is rebuilt on load,
//! and a reply may be held back by the caller and released by a later decision (JoinGroup).

use std::collections::VecDeque;
use std::sync::Arc;

/// What a machine holds. `Clone` must be O(1): persistent maps, never deep copies.
pub trait State: Clone {
    /// What is written to the log.
    type Record;
    /// What applying records did, for those who follow the state (`()` when nobody does).
    type Change: Default;
    /// A record that does not fit the state: damage in a log, a bug when this process decided it.
    type Error: std::fmt::Display;

    /// The one place that mutates. `offset` is the record's place in the log.
    fn apply(&mut self, offset: i64, record: &Self::Record, change: &mut Self::Change) -> Result<(), Self::Error>;
}

/// What a command decided: the records to commit, and the reply to give once they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<Record, Reply> {
    pub records: Vec<Record>,
    pub reply: Reply,
}

impl<Record, Reply> Decision<Record, Reply> {
    pub fn new(records: Vec<Record>, reply: Reply) -> Self {
        Decision { records, reply }
    }

    /// A reply that needs no record.
    pub fn reply(reply: Reply) -> Self {
        Decision { records: Vec::new(), reply }
    }

    pub fn map<T>(self, f: impl FnOnce(Reply) -> T) -> Decision<Record, T> {
        Decision { records: self.records, reply: f(self.reply) }
    }
}

/// A batch under decision: a copy of the newest state, the records so far, the replies so far.
pub struct Draft<S: State, Reply> {
    state: S,
    base_offset: i64,
    records: Vec<S::Record>,
    change: S::Change,
    replies: Vec<Reply>,
}

impl<S: State, Reply> Draft<S, Reply> {
    /// The state as the next command of this batch sees it.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The offset that the next record will have.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + self.records.len() as i64
    }

    /// Takes one command's decision into the batch.
    ///
    /// # Panics
    /// When a record does not fit the state it was decided on: that is a bug in the decision.
    pub fn push(&mut self, decision: Decision<S::Record, Reply>) {
        self.write(decision.records);
        self.replies.push(decision.reply);
    }

    /// Takes in records that nobody asked for, so that nobody gets a reply.
    ///
    /// # Panics
    /// As [`Draft::push`].
    pub fn write(&mut self, records: impl IntoIterator<Item = S::Record>) {
        for record in records {
            let offset = self.next_offset();
            if let Err(error) = self.state.apply(offset, &record, &mut self.change) {
                panic!("a decided record does not fit the state it was decided on: {error}");
            }
            self.records.push(record);
        }
    }

    pub fn records(&self) -> &[S::Record] {
        &self.records
    }
}

/// A batch that the log has: what changed, and the replies that may go out now.
pub struct Committed<S: State, Reply> {
    /// The state right after this batch.
    pub state: Arc<S>,
    pub change: S::Change,
    pub replies: Vec<Reply>,
}

struct InFlight<S: State, Reply> {
    base_offset: i64,
    end_offset: i64,
    state: S,
    change: S::Change,
    replies: Vec<Reply>,
}

/// One state with its batches in flight.
pub struct Machine<S: State, Reply> {
    published: Arc<S>,
    next_offset: i64,
    in_flight: VecDeque<InFlight<S, Reply>>,
}

impl<S: State, Reply> Machine<S, Reply> {
    /// `next_offset`: the log's end offset, where the first record will go.
    pub fn new(state: S, next_offset: i64) -> Self {
        Machine { published: Arc::new(state), next_offset, in_flight: VecDeque::new() }
    }

    /// What is committed; what readers see.
    pub fn published(&self) -> &Arc<S> {
        &self.published
    }

    /// Where the next batch begins: behind everything published or in flight.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Where the oldest batch in flight begins: of that and what follows the published state has nothing.
    pub fn in_flight_from(&self) -> i64 {
        self.in_flight.front().map_or(self.next_offset, |oldest| oldest.base_offset)
    }

    /// The log got something of its own (control records): the next batch goes to `next_offset`.
    pub fn continue_at(&mut self, next_offset: i64) {
        assert!(next_offset >= self.next_offset, "what is in flight has its place in the log already");
        self.next_offset = next_offset;
    }

    /// Begins a batch on top of what is in flight. Dropping the draft leaves no trace.
    pub fn draft(&self) -> Draft<S, Reply> {
        let state = self.in_flight.back().map_or_else(|| (*self.published).clone(), |newest| newest.state.clone());
        Draft {
            state,
            base_offset: self.next_offset,
            records: Vec::new(),
            change: S::Change::default(),
            replies: Vec::new(),
        }
    }

    /// Puts a batch in flight and returns its records, to be written at the offset that [`Machine::next_offset`] gave.
    /// A batch without records waits for those before it, so that its replies never show what is not committed.
    pub fn submit(&mut self, draft: Draft<S, Reply>) -> Vec<S::Record> {
        assert_eq!(draft.base_offset, self.next_offset, "a batch was decided on a state that is no longer the newest");
        self.next_offset += draft.records.len() as i64;
        self.in_flight.push_back(InFlight {
            base_offset: draft.base_offset,
            end_offset: self.next_offset,
            state: draft.state,
            change: draft.change,
            replies: draft.replies,
        });
        draft.records
    }

    /// The log has committed everything below `end_offset`: publishes the batches up to there, oldest first.
    pub fn committed(&mut self, end_offset: i64) -> Vec<Committed<S, Reply>> {
        let mut done = Vec::new();
        while self.in_flight.front().is_some_and(|batch| batch.end_offset <= end_offset) {
            let Some(batch) = self.in_flight.pop_front() else { break };
            self.published = Arc::new(batch.state);
            done.push(Committed { state: self.published.clone(), change: batch.change, replies: batch.replies });
        }
        done
    }

    /// The log refused a write, or this node no longer leads: drops everything in flight. The dropped replies are
    /// returned in order, for the caller to answer with an error instead.
    pub fn failed(&mut self, log_end_offset: i64) -> Vec<Reply> {
        self.next_offset = log_end_offset;
        self.in_flight.drain(..).flat_map(|batch| batch.replies).collect()
    }

    /// Publishes a state that came from elsewhere (a follower applied what its leader committed, or a snapshot was
    /// loaded). Nothing may be in flight.
    pub fn replace(&mut self, state: S, next_offset: i64) {
        assert!(self.in_flight.is_empty(), "a state cannot be replaced under batches in flight");
        self.published = Arc::new(state);
        self.next_offset = next_offset;
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of numbers, each allowed once.
    #[derive(Clone, Default, Debug, PartialEq)]
    struct Numbers(imbl::OrdSet<u32>);

    impl State for Numbers {
        type Record = u32;
        type Change = Vec<u32>;
        type Error = String;

        fn apply(&mut self, _offset: i64, record: &u32, change: &mut Vec<u32>) -> Result<(), String> {
            if self.0.insert(*record).is_some() {
                return Err(format!("{record} is there already"));
            }
            change.push(*record);
            Ok(())
        }
    }

    fn add(draft: &mut Draft<Numbers, bool>, number: u32) {
        let decision =
            if draft.state().0.contains(&number) { Decision::reply(false) } else { Decision::new(vec![number], true) };
        draft.push(decision);
    }

    #[test]
    fn commands_of_one_batch_see_each_other_and_readers_see_neither_until_the_commit() {
        let mut machine = Machine::new(Numbers::default(), 10);
        let mut draft = machine.draft();
        add(&mut draft, 7);
        add(&mut draft, 7);
        assert_eq!(machine.submit(draft), vec![7]);
        assert!(machine.published().0.is_empty());
        assert!(machine.committed(10).is_empty());
        let done = machine.committed(11);
        assert_eq!(done.len(), 1);
        assert_eq!((&done[0].replies, &done[0].change), (&vec![true, false], &vec![7]));
        assert!(machine.published().0.contains(&7));
    }

    #[test]
    fn a_later_batch_is_decided_on_top_of_those_in_flight() {
        let mut machine = Machine::new(Numbers::default(), 0);
        for number in [1, 2] {
            let mut draft = machine.draft();
            add(&mut draft, 1);
            add(&mut draft, number);
            machine.submit(draft);
        }
        assert_eq!(machine.next_offset(), 2);
        let done = machine.committed(2);
        assert_eq!(done.iter().map(|batch| batch.replies.clone()).collect::<Vec<_>>(), [[true, false], [false, true]]);
    }

    #[test]
    fn a_failure_drops_every_batch_in_flight_and_publishes_nothing() {
        let mut machine = Machine::new(Numbers::default(), 5);
        for number in [1, 2] {
            let mut draft = machine.draft();
            add(&mut draft, number);
            machine.submit(draft);
        }
        assert_eq!(machine.failed(5), [true, true]);
        assert_eq!(machine.next_offset(), 5);
        let mut draft = machine.draft();
        add(&mut draft, 1);
        machine.submit(draft);
        assert_eq!(machine.committed(6).len(), 1);
        assert_eq!(machine.published().0.len(), 1);
    }

    #[test]
    fn a_batch_without_records_answers_only_after_those_before_it() {
        let mut machine = Machine::new(Numbers::default(), 0);
        let mut draft = machine.draft();
        add(&mut draft, 1);
        machine.submit(draft);
        let mut draft = machine.draft();
        add(&mut draft, 1);
        assert!(machine.submit(draft).is_empty());
        assert!(machine.committed(0).is_empty());
        assert_eq!(machine.committed(1).len(), 2);
    }

    #[test]
    #[should_panic(expected = "no longer the newest")]
    fn a_batch_decided_on_an_old_state_is_a_bug() {
        let mut machine = Machine::new(Numbers::default(), 0);
        let mut stale = machine.draft();
        add(&mut stale, 2);
        let mut draft = machine.draft();
        add(&mut draft, 1);
        machine.submit(draft);
        machine.submit(stale);
    }
}
