//! What protects the cluster, kept exactly as the records say: ACLs, SCRAM credentials, delegation tokens, quotas.
//! Nothing here decides anything yet; a node that cannot enforce them refuses to start on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use wire::Uuid;
use wire::messages::client_quota_record::EntityData;
use wire::messages::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, MetadataRecord, UserScramCredentialRecord,
};

use super::ApplyError;

/// A quota's entity: type and name pairs in the order of the types; a name of `None` is the default.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// ACLs, credentials, tokens and quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    acls: OrdMap<Uuid, Arc<AccessControlEntryRecord<'static>>>,
    /// By mechanism (1 SCRAM-SHA-256, 2 SCRAM-SHA-512) and user.
    scram: OrdMap<(i8, String), Arc<UserScramCredentialRecord<'static>>>,
    tokens: OrdMap<String, Arc<DelegationTokenRecord<'static>>>,
    quotas: OrdMap<QuotaEntity, Arc<BTreeMap<String, f64>>>,
}

impl Security {
    pub fn acls(&self) -> impl Iterator<Item = &AccessControlEntryRecord<'static>> {
        self.acls.values().map(|acl| &**acl)
    }

    pub fn scram_credentials(&self) -> impl Iterator<Item = &UserScramCredentialRecord<'static>> {
        self.scram.values().map(|credential| &**credential)
    }

    pub fn delegation_tokens(&self) -> impl Iterator<Item = &DelegationTokenRecord<'static>> {
        self.tokens.values().map(|token| &**token)
    }

    pub fn quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<String, f64>)> {
        self.quotas.iter().map(|(entity, quota)| (entity, &**quota))
    }

    pub(super) fn apply(&mut self, record: &MetadataRecord<'_>) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::AccessControlEntry(acl) => {
                if self.acls.insert(acl.id, Arc::new(owned_acl(acl))).is_some() {
                    return Err(ApplyError::new(format!("ACL {} is added a second time", acl.id)));
                }
            }
            MetadataRecord::RemoveAccessControlEntry(acl) => {
                if self.acls.remove(&acl.id).is_none() {
                    return Err(ApplyError::new(format!("ACL {} is removed and is unknown", acl.id)));
                }
            }
            MetadataRecord::UserScramCredential(credential) => {
                let key = (credential.mechanism, credential.name.to_string());
                self.scram.insert(key, Arc::new(owned_credential(credential)));
            }
            MetadataRecord::RemoveUserScramCredential(credential) => {
                self.scram.remove(&(credential.mechanism, credential.name.to_string()));
            }
            MetadataRecord::DelegationToken(token) => {
                self.tokens.insert(token.token_id.to_string(), Arc::new(owned_token(token)));
            }
            MetadataRecord::RemoveDelegationToken(token) => {
                self.tokens.remove(&*token.token_id);
            }
            MetadataRecord::ClientQuota(quota) => self.apply_quota(quota),
            other => return Err(ApplyError::new(format!("a record of an unexpected type: {other:?}"))),
        }
        Ok(())
    }

    fn apply_quota(&mut self, record: &ClientQuotaRecord<'_>) {
        let mut entity: QuotaEntity = record
            .entity
            .iter()
            .map(|part| (part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string)))
            .collect();
        entity.sort();
        let mut quota = self.quotas.get(&entity).cloned().unwrap_or_default();
        let own = Arc::make_mut(&mut quota);
        if record.remove {
            own.remove(&*record.key);
        } else {
            own.insert(record.key.to_string(), record.value);
        }
        if quota.is_empty() {
            self.quotas.remove(&entity);
        } else {
            self.quotas.insert(entity, quota);
        }
    }

    pub(super) fn quota_records(&self) -> impl Iterator<Item = ClientQuotaRecord<'static>> + '_ {
        self.quotas.iter().flat_map(|(entity, quota)| {
            quota.iter().map(|(key, value)| ClientQuotaRecord {
                entity: entity
                    .iter()
                    .map(|(kind, name)| EntityData {
                        entity_type: kind.clone().into(),
                        entity_name: name.clone().map(Into::into),
                    })
                    .collect(),
                key: key.clone().into(),
                value: *value,
                remove: false,
            })
        })
    }

    /// Everything but the quotas, in the order of a snapshot.
    pub(super) fn verbatim_records(&self) -> impl Iterator<Item = MetadataRecord<'static>> + '_ {
        let acls = self.acls().cloned().map(MetadataRecord::AccessControlEntry);
        let scram = self.scram_credentials().cloned().map(MetadataRecord::UserScramCredential);
        let tokens = self.delegation_tokens().cloned().map(MetadataRecord::DelegationToken);
        acls.chain(scram).chain(tokens)
    }
}

fn owned_acl(acl: &AccessControlEntryRecord<'_>) -> AccessControlEntryRecord<'static> {
    AccessControlEntryRecord {
        id: acl.id,
        resource_type: acl.resource_type,
        resource_name: acl.resource_name.to_string().into(),
        pattern_type: acl.pattern_type,
        principal: acl.principal.to_string().into(),
        host: acl.host.to_string().into(),
        operation: acl.operation,
        permission_type: acl.permission_type,
    }
}

fn owned_credential(credential: &UserScramCredentialRecord<'_>) -> UserScramCredentialRecord<'static> {
    UserScramCredentialRecord {
        name: credential.name.to_string().into(),
        mechanism: credential.mechanism,
        salt: credential.salt.to_vec().into(),
        stored_key: credential.stored_key.to_vec().into(),
        server_key: credential.server_key.to_vec().into(),
        iterations: credential.iterations,
    }
}

fn owned_token(token: &DelegationTokenRecord<'_>) -> DelegationTokenRecord<'static> {
    DelegationTokenRecord {
        owner: token.owner.to_string().into(),
        requester: token.requester.to_string().into(),
        renewers: token.renewers.iter().map(|renewer| wire::codec::Str::Owned(renewer.to_string())).collect(),
        issue_timestamp: token.issue_timestamp,
        max_timestamp: token.max_timestamp,
        expiration_timestamp: token.expiration_timestamp,
        token_id: token.token_id.to_string().into(),
    }
}
