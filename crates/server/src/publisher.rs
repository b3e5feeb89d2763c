//! Where committed states go: a thread brings this node's partitions in line with each, in order, and then gives the replies
//! that waited for it. Opening ten thousand logs takes seconds, during which the metadata thread has to go on voting and
//! fetching.

use crate::node::Node;
use metadata::controller::Reply;
use metadata::image::{Delta, Image};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// States that may wait; more hold the metadata thread up.
const QUEUE: usize = 1024;

/// Something to publish.
pub enum Publication {
    /// A state that came about by `change`; the replies may go once it is in force here.
    Change { image: Arc<Image>, change: Delta, replies: Vec<(oneshot::Sender<Reply>, Reply)> },
    /// The state that the node begins with. What comes before it has no effect here.
    All { image: Arc<Image>, done: oneshot::Sender<()> },
}

/// Takes publications.
pub struct Publisher(SyncSender<Publication>);

impl Publisher {
    /// Starts the thread; it ends with the publisher.
    pub fn start(node: Arc<Node>) -> io::Result<(Publisher, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(move || {
            let _stop_on_panic = node.indispensable("publisher");
            run(&node, &receiver);
        })?;
        Ok((Publisher(sender), thread))
    }

    pub fn publish(&self, publication: Publication) {
        let _ = self.0.send(publication); // the thread panicked, and with that the node stops
    }
}

fn run(node: &Arc<Node>, publications: &Receiver<Publication>) {
    let mut begun = false;
    for publication in publications {
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
