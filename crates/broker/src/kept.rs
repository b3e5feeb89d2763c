//! What of a broker's records is known to be here still, when its process begins: the controller takes a broker out of ISRs
//! and ELRs that may have lost something (KIP-966).

use metadata::image::Image;
use wire::Uuid;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The process of this broker epoch ended in order.
    Until(i64),
    /// Every process before this one was killed at most, which loses nothing that was written.
    All,
    Unknown,
}

impl Kept {
    /// The epoch to register with as the previous one; -1 says that records may be lost. To be asked anew for each attempt: a
    /// registration of an earlier process may have been late. One with other directories was made somewhere else, and what
    /// it acknowledged is not here; or one of them failed, and comes back without what it had not on its disk.
    pub fn previous_epoch(self, image: &Image, broker: i32, log_dirs: &[Uuid]) -> i64 {
        match self {
            Kept::Until(epoch) => epoch,
            Kept::All => {
                let registered = image.cluster.broker(broker);
                let here = registered.filter(|earlier| {
                    // Clusters of old versions do not know of directories.
                    let is_known = |dir: &Uuid| earlier.log_dirs.is_empty() || earlier.log_dirs.contains(dir);
                    earlier.log_dirs.iter().all(|dir| log_dirs.contains(dir)) && log_dirs.iter().all(is_known)
                });
                here.map_or(-1, |earlier| earlier.epoch)
            }
            Kept::Unknown => -1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::image::Delta;
    use wire::messages::{MetadataRecord, RegisterBrokerRecord};

    #[test]
    fn a_registration_with_other_directories_is_not_ours() {
        let (ours, other) = (Uuid::from_u128(1 << 70), Uuid::from_u128(2 << 70));
        let image = |dirs: &[Uuid]| {
            let record = RegisterBrokerRecord {
                broker_id: 3,
                broker_epoch: 7,
                log_dirs: dirs.to_vec().into(),
                ..Default::default()
            };
            let mut image = Image::default();
            image.replay(7, &MetadataRecord::RegisterBroker(record), &mut Delta::default()).unwrap();
            image
        };
        assert_eq!(Kept::All.previous_epoch(&image(&[ours]), 3, &[ours]), 7);
        assert_eq!(Kept::All.previous_epoch(&image(&[ours]), 3, &[other, ours]), -1, "one that failed comes back");
        assert_eq!(Kept::All.previous_epoch(&image(&[]), 3, &[other, ours]), 7, "of a cluster without directories");
        assert_eq!(Kept::All.previous_epoch(&image(&[other]), 3, &[ours]), -1);
        assert_eq!(Kept::All.previous_epoch(&Image::default(), 3, &[ours]), -1);
        assert_eq!(Kept::Until(5).previous_epoch(&image(&[ours]), 3, &[ours]), 5);
        assert_eq!(Kept::Unknown.previous_epoch(&image(&[ours]), 3, &[ours]), -1);
    }
}
