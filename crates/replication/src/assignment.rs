//! What the controller says about a partition, as far as a replica needs it.

/// The partition as the cluster's state has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// A broker's id; -1 while nobody leads.
    pub leader: i32,
    /// Grows with every change of the leader.
    pub leader_epoch: i32,
    /// Grows with every change.
    pub partition_epoch: i32,
    pub replicas: Box<[i32]>,
    pub isr: Box<[i32]>,
}

impl Assignment {
    /// A partition that one broker holds alone.
    pub fn sole(leader: i32, leader_epoch: i32) -> Assignment {
        let alone: Box<[i32]> = Box::new([leader]);
        Assignment { leader, leader_epoch, partition_epoch: 0, replicas: alone.clone(), isr: alone }
    }
}
