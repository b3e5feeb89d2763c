//! Clients: their connections, what they ask, and what they know of the cluster.

use crate::consumer::{Consumer, Step};
use crate::producer::{Acks, Producer};
use crate::world::{Caller, Event, Happening, To, World};
use coordinator::{Reply, Request};
use metadata::image::{Image, Partition, TopicIdPartition};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use wire::ErrorCode;

/// The first client's place in the network; the others follow.
pub const PLACE: i32 = 100;
/// An answer that takes longer does not come: the connection is given up.
const PATIENCE_MS: i64 = 1_200;

/// Of each partition its records, or why there are none.
pub type FetchedRecords = Vec<(TopicIdPartition, Result<Vec<u8>, ErrorCode>)>;

pub enum Question {
    Metadata,
    ProducerId,
    Produce {
        key: TopicIdPartition,
        acks: Acks,
        bytes: Vec<u8>,
    },
    /// `may_follow`: of a follower as well (KIP-392).
    Fetch {
        wanted: Vec<(TopicIdPartition, i64)>,
        may_follow: bool,
    },
    Group {
        group: String,
        request: Request,
    },
}

pub enum Answer {
    Metadata(Arc<Image>),
    ProducerId(Result<i64, ErrorCode>),
    /// The base offset.
    Produced(Result<i64, ErrorCode>),
    Fetched(FetchedRecords),
    Group(Reply),
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Pending {
    Metadata,
    ProducerId,
    /// The batch by its checksum.
    Produce(TopicIdPartition, u32),
    Fetch,
    Group(Step),
}

pub enum ClientEvent {
    /// It looks at what there is to do.
    Turn,
    Answered(u64, u64, Answer),
    /// A connection to a node broke.
    Broken(i32, u64),
    TimedOut(u64),
}

struct Connection {
    number: u64,
    to: To,
    /// Nothing arrives any more, and nobody has noticed.
    is_dead: bool,
    /// When the last message arrives there, and here: a connection keeps the order.
    there_ms: i64,
    here_ms: i64,
}

pub struct Client {
    pub image: Arc<Image>,
    pub role: Role,
    connections: BTreeMap<i32, Connection>,
    asked: BTreeMap<u64, (i32, Pending)>,
    is_refreshing: bool,
    refreshed_ms: i64,
}

pub enum Role {
    Producer(Producer),
    Consumer(Consumer),
}

impl Client {
    pub fn new(role: Role) -> Client {
        Client {
            image: Arc::default(),
            role,
            connections: BTreeMap::new(),
            asked: BTreeMap::new(),
            is_refreshing: false,
            refreshed_ms: i64::MIN / 2,
        }
    }

    pub fn partition(&self, key: TopicIdPartition) -> Option<&Partition> {
        self.image.topics.partition(key).map(|partition| &**partition)
    }

    pub fn leader(&self, key: TopicIdPartition) -> Option<i32> {
        self.partition(key).map(|partition| partition.leader).filter(|leader| *leader >= 0)
    }
}

impl World {
    pub fn make_clients(&mut self) {
        for (at, acks) in self.plan.producers.into_iter().flatten().enumerate() {
            self.clients.push(Client::new(Role::Producer(Producer::new(at, acks))));
        }
        for at in 0..self.plan.consumers {
            // The last of three is in a group of its own.
            let group = if at == 2 { "other" } else { "group" };
            self.clients.push(Client::new(Role::Consumer(Consumer::new(group))));
        }
        for client in 0..self.clients.len() {
            let delay_ms = 300 + self.chance.below(500);
            self.after(delay_ms, Event::Client(client, ClientEvent::Turn));
        }
    }

    /// Asks a node. What becomes of it is told to the client later, in any case.
    pub fn ask_node(&mut self, client: usize, node: i32, pending: Pending, question: Question) {
        let patience_ms = if matches!(pending, Pending::Group(Step::Join)) { 4 * PATIENCE_MS } else { PATIENCE_MS };
        self.made += 1;
        let token = self.made;
        self.clients[client].asked.insert(token, (node, pending));
        // Without a connection nobody listens there.
        let patience_ms = if self.tell_node(client, node, token, question) { patience_ms } else { 3 };
        self.after(patience_ms, Event::Client(client, ClientEvent::TimedOut(token)));
    }

    /// Says something to a node without waiting for an answer. Whether there is a connection.
    pub fn tell_node(&mut self, client: usize, node: i32, token: u64, question: Question) -> bool {
        let place = PLACE + client as i32;
        let (now_ms, to) = (self.now_ms(), self.running(node));
        self.made += 1;
        let fresh = self.made;
        if let Entry::Vacant(entry) = self.clients[client].connections.entry(node) {
            let Some(to) = to else { return false };
            entry.insert(Connection { number: fresh, to, is_dead: false, there_ms: 0, here_ms: 0 });
        }
        let is_cut = self.links.is_cut(place, node, now_ms) || !self.is_healed() && self.chance.is(1);
        let delay_ms = self.delay_ms();
        let connection = self.clients[client].connections.get_mut(&node).unwrap();
        connection.is_dead |= is_cut;
        if !connection.is_dead {
            connection.there_ms = connection.there_ms.max(now_ms + delay_ms);
            let (delay_ms, to) = (connection.there_ms - now_ms, connection.to);
            let caller = Caller { client, connection: connection.number };
            self.at(delay_ms, to, Happening::Asked(caller, token, question));
        }
        true
    }

    /// A node closes a client's connection.
    pub fn close_connection(&mut self, to: To, caller: Caller) {
        let delay_ms = self.delay_ms();
        self.after(delay_ms, Event::Client(caller.client, ClientEvent::Broken(to.id, caller.connection)));
    }

    /// A node's answer sets out.
    pub fn back_to(&mut self, caller: Caller, token: u64, answer: Answer) {
        let (now_ms, delay_ms) = (self.now_ms(), self.delay_ms());
        let mut connections = self.clients[caller.client].connections.values_mut();
        let Some(connection) = connections.find(|c| c.number == caller.connection && !c.is_dead) else { return };
        connection.here_ms = connection.here_ms.max(now_ms + delay_ms);
        let event = ClientEvent::Answered(caller.connection, token, answer);
        self.schedule.after(connection.here_ms - now_ms, Event::Client(caller.client, event));
    }

    /// Whether the client still listens at this connection.
    pub fn is_open(&self, caller: Caller) -> bool {
        self.clients[caller.client].connections.values().any(|c| c.number == caller.connection)
    }

    /// A process is gone; most clients notice at once.
    pub fn connections_break(&mut self, ended: To) {
        for client in 0..self.clients.len() {
            let connection = self.clients[client].connections.get_mut(&ended.id).filter(|c| c.to == ended);
            let Some(connection) = connection else { continue };
            connection.is_dead = true;
            let number = connection.number;
            if self.chance.is(85) {
                let delay_ms = 1 + self.chance.below(10);
                self.after(delay_ms, Event::Client(client, ClientEvent::Broken(ended.id, number)));
            }
        }
    }

    pub fn client_event(&mut self, client: usize, event: ClientEvent) {
        match event {
            ClientEvent::Turn => self.client_turn(client),
            ClientEvent::Broken(node, number) => {
                let known = &self.clients[client];
                if known.connections.get(&node).is_some_and(|connection| connection.number == number) {
                    self.disconnect(client, node);
                }
            }
            ClientEvent::TimedOut(token) => {
                if let Some((node, _)) = self.clients[client].asked.get(&token) {
                    let node = *node;
                    self.disconnect(client, node);
                }
            }
            ClientEvent::Answered(connection, token, answer) => {
                let known = &mut self.clients[client];
                if !known.connections.values().any(|c| c.number == connection) {
                    return;
                }
                if let Some((_, pending)) = known.asked.remove(&token) {
                    self.client_answered(client, pending, Some(answer));
                }
            }
        }
    }

    /// Gives a connection up; everything asked over it gets no answer.
    fn disconnect(&mut self, client: usize, node: i32) {
        let known = &mut self.clients[client];
        known.connections.remove(&node);
        let lost: Vec<u64> = known.asked.iter().filter(|(_, (to, _))| *to == node).map(|(token, _)| *token).collect();
        for token in lost {
            if let Some((_, pending)) = self.clients[client].asked.remove(&token) {
                self.client_answered(client, pending, None);
            }
        }
        self.refresh(client);
    }

    /// Asks any node how the cluster is now.
    pub fn refresh(&mut self, client: usize) {
        let (ids, now_ms) = (self.plan.ids(), self.now_ms());
        let known = &mut self.clients[client];
        if known.is_refreshing || now_ms < known.refreshed_ms + 15 {
            return;
        }
        known.is_refreshing = true;
        let ids: Vec<i32> = ids.collect();
        let node = self.chance.one_of(&ids);
        self.ask_node(client, node, Pending::Metadata, Question::Metadata);
    }

    fn client_turn(&mut self, client: usize) {
        let now_ms = self.now_ms();
        if now_ms >= self.clients[client].refreshed_ms + 1_000 {
            self.refresh(client);
        }
        let pause_ms = match self.clients[client].role {
            Role::Producer(_) => self.producer_turn(client),
            Role::Consumer(_) => self.consumer_turn(client),
        };
        self.after(pause_ms, Event::Client(client, ClientEvent::Turn));
    }

    fn client_answered(&mut self, client: usize, pending: Pending, answer: Option<Answer>) {
        let now_ms = self.now_ms();
        let known = &mut self.clients[client];
        match (pending, answer) {
            (Pending::Metadata, answer) => {
                known.is_refreshing = false;
                if let Some(Answer::Metadata(image)) = answer {
                    known.refreshed_ms = now_ms;
                    // Clients do not go back to an older leader (KIP-320).
                    if image.offset >= known.image.offset {
                        known.image = image;
                    }
                }
            }
            (Pending::ProducerId, answer) => {
                let id = match answer {
                    Some(Answer::ProducerId(id)) => id.ok(),
                    _ => None,
                };
                self.producer_id_came(client, id);
            }
            (Pending::Produce(key, crc), answer) => {
                let result = match answer {
                    Some(Answer::Produced(result)) => result,
                    _ => Err(ErrorCode::NetworkException),
                };
                self.batch_answered(client, key, crc, result);
            }
            (Pending::Fetch, answer) => {
                let fetched = match answer {
                    Some(Answer::Fetched(fetched)) => fetched,
                    _ => Vec::new(),
                };
                self.records_came(client, fetched);
            }
            (Pending::Group(step), answer) => {
                let reply = match answer {
                    Some(Answer::Group(reply)) => Some(reply),
                    _ => None,
                };
                self.group_answered(client, step, reply);
            }
        }
    }
}
