//! Who says what to whom: brokers to the controller, followers to leaders; late, out of order, or not at all.

use crate::node::Following;
use crate::world::{Asked, Event, To, World};
use broker::Verdict;
use metadata::controller::{AlterPartition, Command, Reply};
use metadata::image::LeaderRecoveryState;
use replication::{Answer, Followed, Position, ReplicaFetch};
use wire::ErrorCode;
use wire::codec::Records;
use wire::messages::fetch_request::{FetchPartition, FetchRequest};
use wire::messages::fetch_response::{EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData};

/// The controller's place in the network.
pub const CONTROLLER: i32 = 100;
const PATIENCE_MS: i64 = 700;

impl World {
    /// Mostly quick, sometimes slow, now and then very slow.
    pub fn delay_ms(&mut self) -> i64 {
        match self.chance.below(100) {
            _ if self.is_healed() => 1 + self.chance.below(5),
            0..85 => 1 + self.chance.below(10),
            85..98 => self.chance.below(150),
            _ => self.chance.below(3_000),
        }
    }

    fn is_lost(&mut self, from: i32, to: i32) -> bool {
        self.links.is_cut(from, to, self.now_ms) || !self.is_healed() && self.chance.is(2)
    }

    /// Tells the controller something; the answer, if any, comes back.
    pub fn send(&mut self, from: To, command: Command) {
        if !self.is_lost(from.id, CONTROLLER) {
            let delay_ms = self.delay_ms();
            self.after(delay_ms, Event::Command(from, command));
        }
    }

    /// As [`World::send`], and notices when no answer comes.
    pub fn ask(&mut self, from: To, command: Command, asked: Asked) {
        self.send(from, command);
        self.after(PATIENCE_MS, Event::Unanswered(from, asked));
    }

    pub fn command(&mut self, from: To, command: Command) {
        let reply = self.decide(command);
        if !self.is_lost(CONTROLLER, from.id) {
            let delay_ms = self.delay_ms();
            self.after(delay_ms, Event::Replied(from, reply));
        }
    }

    pub fn unanswered(&mut self, to: To, asked: Asked) {
        if self.address(to.id) != Some(to) {
            return;
        }
        let now_ms = self.now_ms;
        match asked {
            Asked::Registration => {
                if self.process(to.id).unwrap().broker_epoch.is_none() {
                    self.register(to.id);
                }
            }
            Asked::AlterPartition(number) => {
                let process = self.process(to.id).unwrap();
                if let Some((_, proposal)) = process.altering.take_if(|(current, _)| *current == number) {
                    process.partition.proposal_answered(&proposal, Err(ErrorCode::NetworkException), now_ms);
                    self.propose(to.id);
                }
            }
        }
    }

    pub fn replied(&mut self, to: To, reply: Reply) -> Result<(), String> {
        if self.address(to.id) != Some(to) {
            return Ok(());
        }
        let (now_ms, key) = (self.now_ms, self.key);
        match reply {
            Reply::RegisterBroker(Ok(epoch)) => {
                let last = self.states.len() - 1;
                let node = self.nodes.get_mut(&to.id).unwrap();
                let process = node.process.as_mut().unwrap();
                if process.broker_epoch.is_none_or(|known| known < epoch) {
                    process.broker_epoch = Some(epoch);
                    process.applied = 0;
                    node.complete_since = Some(epoch);
                    self.say(|| format!("{} is registered under {epoch}", to.id));
                    // It reads the log from its beginning.
                    for step in 0..last + 1 {
                        self.after(1 + step as i64 / 4, Event::Apply(to));
                    }
                }
            }
            // It registers again, as one whose session ended.
            Reply::RegisterBroker(Err(_)) => {}
            Reply::Heartbeat(Ok(answer)) if answer.should_shut_down => self.stopped_in_order(to.id),
            Reply::AlterPartitions(answer) => {
                let result = match answer {
                    Ok(mut altered) => match altered.pop() {
                        Some(one) if one.key == key => one.result.map(|partition| broker::agreed(&partition)),
                        _ => Err(ErrorCode::UnknownServerError),
                    },
                    Err(refusal) => Err(refusal.code),
                };
                let process = self.process(to.id).unwrap();
                // The answer to an earlier copy comes over a connection that was given up.
                let Some((_, proposal)) = process.altering.take() else { return Ok(()) };
                process.partition.proposal_answered(&proposal, result.as_ref().map_err(|code| *code), now_ms);
                self.say(|| format!("{} proposed {:?} and heard {result:?}", to.id, proposal.isr));
                self.propose(to.id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Brings a changed ISR to the controller.
    pub fn propose(&mut self, id: i32) {
        let Some(to) = self.address(id) else { return };
        let key = self.key;
        let process = self.process(id).unwrap();
        let (None, Some(broker_epoch), Some(proposal)) =
            (&process.altering, process.broker_epoch, process.partition.proposal())
        else {
            return;
        };
        process.alterations += 1;
        let number = process.alterations;
        process.altering = Some((number, proposal.clone()));
        let change = AlterPartition {
            key,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            new_isr: proposal.isr,
            leader_recovery_state: LeaderRecoveryState::Recovered,
        };
        let command = Command::AlterPartitions { broker_id: id, broker_epoch, partitions: vec![change] };
        self.ask(to, command, Asked::AlterPartition(number));
    }

    pub fn fetch_turn(&mut self, to: To, leader: i32) {
        let now_ms = self.now_ms;
        let Some(process) = self.process(to.id) else { return };
        let Some(broker_epoch) = process.broker_epoch else { return };
        let Some(following) = process.fetchers.get_mut(&leader).filter(|following| !following.in_flight) else {
            return;
        };
        let Some(mut request) = following.fetcher.request(broker_epoch, now_ms) else {
            if let Some(due_ms) = following.fetcher.next_due_ms() {
                self.after(due_ms - now_ms, Event::FetchTurn(to, leader));
            }
            return;
        };
        request.replica_id = -1;
        following.in_flight = true;
        following.connection += 1;
        let connection = following.connection;
        self.after(PATIENCE_MS, Event::FetchUnanswered { to, connection, leader });
        if !self.is_lost(to.id, leader) {
            let delay_ms = self.delay_ms();
            if !self.is_healed() && self.chance.is(4) {
                // It was sent before over a connection that broke, and arrives all the same.
                let (late_ms, request) = (self.chance.below(4_000), request.clone());
                self.after(late_ms, Event::Fetch { from: to, connection, leader, request });
            }
            self.after(delay_ms, Event::Fetch { from: to, connection, leader, request });
        }
    }

    fn following(&mut self, to: To, leader: i32, connection: u64) -> Option<&mut Following> {
        if self.address(to.id) != Some(to) {
            return None;
        }
        let following = self.process(to.id)?.fetchers.get_mut(&leader)?;
        (following.connection == connection && following.in_flight).then_some(following)
    }

    pub fn fetch_unanswered(&mut self, to: To, connection: u64, leader: i32) {
        let Some(following) = self.following(to, leader, connection) else { return };
        following.in_flight = false;
        let rest_ms = following.fetcher.disconnected();
        self.after(rest_ms, Event::FetchTurn(to, leader));
    }

    /// What the server's Fetch does for a follower.
    pub fn serve_fetch(&mut self, from: To, connection: u64, leader: i32, request: FetchRequest<'static>) {
        let paused_ms = self.nodes[&leader].paused_until_ms - self.now_ms;
        if paused_ms > 0 {
            return self.after(paused_ms, Event::Fetch { from, connection, leader, request });
        }
        let key = self.key;
        if self.process(leader).is_none() {
            return;
        }
        let (replica, epoch) = (request.replica_state.replica_id, request.replica_state.replica_epoch);
        let mut partitions = Vec::new();
        for wanted in request.topics.iter().flat_map(|topic| topic.partitions.to_vec()) {
            let answer = self.answer(leader, replica, epoch, &wanted);
            partitions
                .push(answer.unwrap_or_else(|error| PartitionData { error_code: error.code(), ..Default::default() }));
        }
        self.propose(leader);
        let topic =
            FetchableTopicResponse { topic_id: key.topic_id, partitions: partitions.into(), ..Default::default() };
        let response = FetchResponse { responses: vec![topic].into(), ..Default::default() };
        if !self.is_lost(leader, from.id) {
            let delay_ms = self.delay_ms();
            self.after(delay_ms, Event::Fetched { to: from, connection, leader, response });
        }
    }

    fn answer(
        &mut self,
        leader: i32,
        replica: i32,
        broker_epoch: i64,
        wanted: &FetchPartition,
    ) -> Result<PartitionData<'static>, ErrorCode> {
        let now_ms = self.now_ms;
        let partition = &mut self.process(leader).unwrap().partition;
        partition.check_epoch(wanted.current_leader_epoch)?;
        if !partition.has_follower(replica) {
            return Err(ErrorCode::UnknownLeaderEpoch);
        }
        let log = partition.log();
        let base = PartitionData {
            high_watermark: partition.high_watermark(),
            log_start_offset: log.log_start_offset(),
            ..Default::default()
        };
        if wanted.last_fetched_epoch >= 0 {
            let (epoch, end_offset) = log.epoch_end_offset(wanted.last_fetched_epoch);
            if epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset {
                return Ok(PartitionData { diverging_epoch: EpochEndOffset { epoch, end_offset }, ..base });
            }
        }
        let read = partition.read_as_replica(wanted.fetch_offset, wanted.partition_max_bytes as u32, true);
        let records = read.map_err(|_| ErrorCode::OffsetOutOfRange)?.records;
        let (offset, log_start_offset) = (wanted.fetch_offset, wanted.log_start_offset);
        partition.fetched_by(&ReplicaFetch { replica, broker_epoch, offset, log_start_offset }, now_ms)?;
        Ok(PartitionData { high_watermark: partition.high_watermark(), records: Some(records), ..base })
    }

    /// What the server's fetcher does.
    pub fn fetched(
        &mut self,
        to: To,
        connection: u64,
        leader: i32,
        response: &FetchResponse<'static>,
    ) -> Result<(), String> {
        let key = self.key;
        let Some(following) = self.following(to, leader, connection) else { return Ok(()) };
        following.in_flight = false;
        let is_taken = following.fetcher.answered(response).unwrap_or(false);
        let asked = following.fetcher.asked(key);
        let mut got_something = false;
        for answer in response.responses.iter().flat_map(|topic| topic.partitions.to_vec()) {
            let Some(asked) = asked.filter(|_| is_taken) else { continue };
            got_something |= self.take(to, leader, &asked, &answer)?;
        }
        let pause_ms = if got_something { 0 } else { 10 + self.chance.below(20) };
        self.after(pause_ms, Event::FetchTurn(to, leader));
        Ok(())
    }

    fn take(&mut self, to: To, leader: i32, asked: &Position, answer: &PartitionData<'_>) -> Result<bool, String> {
        let (now_ms, key) = (self.now_ms, self.key);
        let process = self.process(to.id).unwrap();
        let followed = match Verdict::of(ErrorCode::from_code(answer.error_code)) {
            Verdict::Take => {
                let diverging = (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset);
                let records = match &answer.records {
                    Some(Records::Bytes(bytes)) => &**bytes,
                    _ => &[],
                };
                let answer = Answer {
                    high_watermark: answer.high_watermark,
                    log_start_offset: answer.log_start_offset,
                    diverging: Some(diverging).filter(|(_, end_offset)| *end_offset >= 0),
                    records,
                };
                process.partition.take_answer(asked, &answer, now_ms, now_ms).map_err(|fault| fault.to_string())?
            }
            verdict => {
                if let Some(following) = process.fetchers.get_mut(&leader) {
                    following.fetcher.rest(key, now_ms);
                }
                let error = ErrorCode::from_code(answer.error_code).name();
                self.say(|| format!("{} hears {error} from {leader} ({verdict:?}) for {asked:?}", to.id));
                return Ok(false);
            }
        };
        match followed {
            Followed::Advanced { bytes, .. } => {
                self.place(to.id, leader);
                self.sync(to.id);
                Ok(bytes > 0)
            }
            Followed::Truncated { to: end, below_high_watermark } => {
                self.say(|| format!("{} cuts its log at {end}", to.id));
                if below_high_watermark {
                    return Err(format!("{} cut its log at {end}, below its high watermark", to.id));
                }
                let node = self.nodes.get_mut(&to.id).unwrap();
                let partition = &node.process.as_ref().unwrap().partition;
                node.recovery_point = partition.log().recovery_point();
                node.high_watermark = partition.high_watermark();
                self.checks.truncated(to.id, end);
                self.place(to.id, leader);
                Ok(true)
            }
            Followed::BegunInside(begun) => {
                let node = self.nodes.get_mut(&to.id).unwrap();
                let partition = &node.process.as_ref().unwrap().partition;
                node.recovery_point = partition.log().recovery_point();
                node.high_watermark = partition.high_watermark();
                self.take(to, leader, &begun, answer)
            }
            Followed::Stale => {
                self.place(to.id, leader);
                Ok(false)
            }
            Followed::Refused(code) => Err(format!("{} refuses what {leader} sent: {}", to.id, code.name())),
        }
    }
}
