//! Quotas of users, clients and addresses (KIP-546, KIP-612).

use wire::ErrorCode;
use wire::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    alter_client_quotas_request as alter, describe_client_quotas_request as describe,
};

use super::Admin;
use crate::{Error, To};

/// What a quota is for: types (`user`, `client-id`, `ip`) and names; no name is the default of the type.
pub type QuotaEntity = Vec<(String, Option<String>)>;

/// Which names of a type are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    Exactly(String),
    Default,
    Any,
}

impl Admin {
    /// The quotas of all entities that consist of just these types, with names that match.
    pub async fn describe_client_quotas(
        &self,
        filter: &[(&str, QuotaMatch)],
    ) -> Result<Vec<(QuotaEntity, Vec<(String, f64)>)>, Error> {
        let build = |_| {
            let components = filter.iter().map(|(entity_type, wanted)| {
                let (match_type, name) = match wanted {
                    QuotaMatch::Exactly(name) => (0, Some(name.as_str().into())),
                    QuotaMatch::Default => (1, None),
                    QuotaMatch::Any => (2, None),
                };
                describe::ComponentData { entity_type: (*entity_type).into(), match_type, r#match: name }
            });
            Ok(DescribeClientQuotasRequest { components: components.collect(), strict: true })
        };
        let read = |reply: &crate::Reply| {
            let response: DescribeClientQuotasResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            let mut quotas = Vec::new();
            for entry in response.entries.iter().flatten() {
                let name = |name: Option<&str>| name.map(str::to_owned);
                let entity = entry.entity.iter().map(|e| (e.entity_type.to_string(), name(e.entity_name.as_deref())));
                let values = entry.values.iter().map(|v| (v.key.to_string(), v.value));
                quotas.push((entity.collect(), values.collect()));
            }
            Ok(quotas)
        };
        self.client.send(&To::Any, "describeClientQuotas", build, read).await
    }

    /// Sets quotas of an entity, or removes them where there is no value.
    pub async fn alter_client_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, Option<f64>)],
    ) -> Result<(), Error> {
        let build = |_| {
            let parts = entity.iter().map(|(entity_type, name)| alter::EntityData {
                entity_type: entity_type.as_str().into(),
                entity_name: name.as_deref().map(Into::into),
            });
            let ops = changes.iter().map(|(key, value)| alter::OpData {
                key: key.as_str().into(),
                value: value.unwrap_or_default(),
                remove: value.is_none(),
            });
            let entry = alter::EntryData { entity: parts.collect(), ops: ops.collect() };
            Ok(AlterClientQuotasRequest { entries: vec![entry].into(), validate_only: false })
        };
        let read = |reply: &crate::Reply| {
            let response: AlterClientQuotasResponse<'_> = reply.decode()?;
            let results = response.entries.iter();
            Ok(results
                .map(|r| Error::check(ErrorCode::from_code(r.error_code), r.error_message.as_deref()))
                .find(Result::is_err)
                .unwrap_or(Ok(())))
        };
        self.client.send(&To::Any, "alterClientQuotas", build, read).await?
    }
}
