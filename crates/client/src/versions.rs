//! Which requests a broker knows, and in which versions.

use std::collections::BTreeMap;

use wire::ApiKey;
use wire::messages::ApiVersionsResponse;

/// What a broker answered to ApiVersions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl ApiVersions {
    /// The broker's range of an API, by number: also of those that we do not know.
    pub fn range(&self, key: i16) -> Option<(i16, i16)> {
        self.ranges.get(&key).copied()
    }

    /// The newest version that both sides know.
    pub fn common(&self, key: ApiKey) -> Option<i16> {
        let (low, high) = self.range(key as i16)?;
        let ours = key.stable_versions();
        let newest = high.min(*ours.end());
        (newest >= low && newest >= *ours.start()).then_some(newest)
    }

    /// All ranges, by key.
    pub fn iter(&self) -> impl Iterator<Item = (i16, (i16, i16))> + '_ {
        self.ranges.iter().map(|(key, range)| (*key, *range))
    }
}

impl From<&ApiVersionsResponse<'_>> for ApiVersions {
    fn from(response: &ApiVersionsResponse<'_>) -> ApiVersions {
        let ranges = response.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        ApiVersions { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_chosen() {
        let versions =
            ApiVersions { ranges: [(ApiKey::Metadata as i16, (0, 7)), (ApiKey::Produce as i16, (90, 99))].into() };
        assert_eq!(versions.common(ApiKey::Metadata), Some(7));
        assert_eq!(versions.common(ApiKey::Produce), None);
        assert_eq!(versions.common(ApiKey::Fetch), None);
    }
}
