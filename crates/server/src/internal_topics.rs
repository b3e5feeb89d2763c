//! Topics that belong to the cluster itself.

/// Groups and their offsets.
pub const GROUP_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether clients may not write the topic, and consumers with patterns skip it.
pub fn is_internal(name: &str) -> bool {
    [GROUP_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}
