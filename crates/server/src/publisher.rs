//! Where committed states go: a thread brings this node's partitions in line with each, in order, and then gives the replies
//! that waited for it. Opening ten thousand logs takes seconds, during which the metadata thread has to go on voting and
//! fetching: it waits for nobody here. What comes meanwhile is brought in line in one go, so that as much waits at most as the
//! state has names, and a reply for each request.

use crate::node::Node;
use metadata::controller::Reply;
use metadata::image::{Delta, Image};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Something to publish.
pub enum Publication {
    /// A state that came about by `change`; the replies may go once it is in force here.
    Change { image: Arc<Image>, change: Delta, replies: Vec<(oneshot::Sender<Reply>, Reply)> },
    /// The state that the node begins with. What comes before it has no effect here.
    All { image: Arc<Image>, done: oneshot::Sender<()> },
}

/// Takes publications.
pub struct Publisher(Arc<Queue>);

impl Publisher {
    /// Starts the thread; it ends with the publisher.
    pub fn start(node: Arc<Node>) -> io::Result<(Publisher, JoinHandle<()>)> {
        let publisher = Publisher(Arc::default());
        let queue = publisher.0.clone();
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(move || {
            let _stop_on_panic = node.indispensable("publisher");
            run(&node, &queue);
        })?;
        Ok((publisher, thread))
    }

    /// Never waits for what was published before.
    pub fn publish(&self, publication: Publication) {
        self.0.push(publication);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.wake.notify_one();
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Changes that follow each other are one.
    publications: VecDeque<Publication>,
    ended: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, publication: Publication) {
        let mut state = self.state();
        match (state.publications.back_mut(), publication) {
            (
                Some(Publication::Change { image, change, replies }),
                Publication::Change { image: newer, change: later, replies: more },
            ) => {
                *image = newer;
                change.merge(later);
                replies.extend(more);
            }
            (_, publication) => state.publications.push_back(publication),
        }
        self.wake.notify_one();
    }

    /// Waits for the next; `None` when there will be no more.
    fn next(&self) -> Option<Publication> {
        let waits = |state: &mut Waiting| state.publications.is_empty() && !state.ended;
        let mut state = self.wake.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        state.publications.pop_front()
    }
}

fn run(node: &Arc<Node>, queue: &Queue) {
    let mut begun = false;
    while let Some(publication) = queue.next() {
        match publication {
            Publication::Change { image, change, replies } => {
                match begun {
                    true => node.publish(image, &change),
                    false => node.publish_ahead(image),
                }
                for (sender, reply) in replies {
                    let _ = sender.send(reply); // nobody may wait for it any more
                }
            }
            Publication::All { image, done } => {
                node.publish_all(image);
                begun = true;
                let _ = done.send(()); // the node is ending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::image::ConfigResource;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    fn change(offset: i64) -> (Publication, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        let mut image = Image::default();
        image.offset = offset;
        let image = Arc::new(image);
        let change = Delta { configs: [ConfigResource::broker(offset as i32)].into(), ..Delta::default() };
        (Publication::Change { image, change, replies: vec![(sender, Reply::Done)] }, receiver)
    }

    #[test]
    fn whoever_publishes_does_not_wait_while_logs_are_opened() {
        let publisher = Publisher(Arc::default());
        let queue = publisher.0.clone();
        let (done, published) = channel();
        std::thread::spawn(move || {
            let mut receivers = Vec::new();
            for offset in 0..10_000 {
                let (publication, receiver) = change(offset);
                publisher.publish(publication);
                receivers.push(receiver);
            }
            done.send(receivers)
        });
        let receivers = published.recv_timeout(Duration::from_secs(20));
        assert_ne!(receivers.as_ref().err(), Some(&RecvTimeoutError::Timeout), "the metadata thread is held up");
        let Some(Publication::Change { image, change, replies }) = queue.next() else {
            panic!("changes were published")
        };
        assert_eq!((image.offset, change.configs.len(), replies.len()), (9_999, 10_000, 10_000));
        assert!(queue.next().is_none(), "all of them in one go");
    }

    #[test]
    fn what_the_node_begins_with_keeps_its_place() {
        let publisher = Publisher(Arc::default());
        let (done, _receiver) = oneshot::channel();
        publisher.publish(change(1).0);
        publisher.publish(Publication::All { image: Arc::default(), done });
        publisher.publish(change(2).0);
        publisher.publish(change(3).0);
        let queue = publisher.0.clone();
        drop(publisher);
        let mut order = Vec::new();
        while let Some(publication) = queue.next() {
            order.push(match publication {
                Publication::Change { image, .. } => image.offset,
                Publication::All { .. } => 0,
            });
        }
        assert_eq!(order, [1, 0, 3]);
    }
}
