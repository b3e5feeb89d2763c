//! What is worth telling once about a broker's settings: keys without effect, and names that nobody knows.

use std::collections::BTreeMap;

use super::key::{Effect, Key};
use super::layers::{Values, without_listener_prefix};
use super::suggest;
use super::table::{broker_key, broker_keys, quota_key, retired};

const AT_RUN_TIME_ONLY: &str = "it counts only when it is set at run time (kafka-configs.sh)";

/// One sentence for all keys of a file that do nothing here for the same reason, and one for each name nobody knows.
/// What is set to its default is not worth a word.
pub fn remarks(file: &dyn Values) -> Vec<String> {
    told(file, |name| quota_key(name).map(|_| Effect::Ignored(AT_RUN_TIME_ONLY)))
}

/// As [`remarks`], for settings that were made at run time.
pub fn remarks_at_run_time(own: &dyn Values) -> Vec<String> {
    told(own, |name| quota_key(name).map(|key| key.effect))
}

fn told(settings: &dyn Values, quota: fn(&str) -> Option<Effect>) -> Vec<String> {
    let mut idle: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
    let mut unknown = Vec::new();
    settings.for_each(&mut |name, value| {
        if name.starts_with("config.providers.") {
            return;
        }
        let known = broker_key(name).or_else(|| broker_key(without_listener_prefix(name)?));
        if known.is_some_and(|key| is_default(key, value)) {
            return;
        }
        let effect = known.map(|key| key.effect).or_else(|| quota(name));
        match effect.or_else(|| retired::find(name).map(|old| old.effect)) {
            Some(Effect::Ignored(reason)) => idle.entry((false, reason)).or_default().push(name.to_owned()),
            Some(Effect::Later(feature)) => idle.entry((true, feature)).or_default().push(name.to_owned()),
            Some(Effect::Works | Effect::Refused(_)) => {}
            None => {
                // Whoever may change settings may not begin a new line of the log.
                let shown = name.escape_debug();
                unknown.push(match suggestion(name) {
                    Some(meant) => format!("{shown} is not a known setting; did you mean {meant}?"),
                    None => format!("{shown} is not a known setting"),
                });
            }
        }
    });
    let sentence = |((later, why), names): ((bool, &str), Vec<String>)| {
        let have = if names.len() == 1 { "has" } else { "have" };
        let names = names.join(", ");
        if later {
            format!("no effect yet, for want of {why}: {names}")
        } else {
            format!("{names} {have} no effect: {why}")
        }
    };
    idle.into_iter().map(sentence).chain(unknown).collect()
}

/// The known broker key that a misspelt name may have meant.
pub fn suggestion(name: &str) -> Option<&'static str> {
    suggest::nearest(name, broker_keys().iter().map(|key| key.name))
}

/// Whether `value` is what the key has anyway.
pub fn is_default(key: &Key, value: &str) -> bool {
    match (key.parse(value), key.default) {
        (Ok(value), Some(default)) => key.parse(default) == Ok(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: &[(&str, &str)]) -> Vec<String> {
        super::remarks(&settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn keys_without_effect_are_told_by_reason_and_those_at_their_default_not_at_all() {
        let said = told(&[
            ("num.network.threads", "9"),
            ("num.io.threads", "8"),
            ("transaction.state.log.min.isr", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("log.message.format.version", "2.1"),
            ("log.retention.ms", "5"),
        ]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().any(|s| s.starts_with("num.network.threads has no effect: connections share")), "{said:?}");
        assert!(said.contains(
            &"no effect yet, for want of transactions: transaction.state.log.min.isr, transaction.state.log.replication.factor"
                .to_owned()
        ));
    }

    #[test]
    fn the_brokers_quotas_belong_to_run_time() {
        let quota = [("leader.replication.throttled.rate", "5")];
        let file = told(&quota);
        assert_eq!(file.len(), 1);
        assert!(file[0].contains("counts only when it is set at run time"), "{file:?}");
        let own: BTreeMap<_, _> = quota.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let stored = remarks_at_run_time(&own);
        assert!(stored.iter().all(|said| !said.contains("not a known setting")), "{stored:?}");
    }

    #[test]
    fn unknown_names_get_a_suggestion_where_one_is_near() {
        assert_eq!(
            told(&[("log.retension.ms", "1")]),
            ["log.retension.ms is not a known setting; did you mean log.retention.ms?"]
        );
        assert_eq!(told(&[("my.own", "1")]), ["my.own is not a known setting"]);
        assert_eq!(told(&[("my\nown", "1")]), ["my\\nown is not a known setting"]);
    }
}
