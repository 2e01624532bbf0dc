//! Why something happened, and how often: one count for each reason.

use std::collections::BTreeMap;

/// Characters kept of a reason, which a target chooses freely.
const REASON_CHARACTERS_MAX: usize = 100;

/// Distinct reasons kept; all further ones count as [`OTHER_REASONS`].
const REASONS_MAX: usize = 20;

const OTHER_REASONS: &str = "other reasons";

/// Number of occurrences by reason.
pub type Reasons = BTreeMap<String, u64>;

/// Counts one occurrence of a reason.
pub fn add_reason(all: &mut Reasons, reason: String) {
    let shown = reason.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS_MAX).collect();
    let is_known = all.contains_key::<String>(&shown) || all.len() < REASONS_MAX;
    *all.entry(if is_known { shown } else { OTHER_REASONS.to_owned() }).or_default() += 1;
}

/// Adds all counts of another collection.
pub fn add_reasons(all: &mut Reasons, others: &Reasons) {
    for (reason, count) in others {
        *all.entry(reason.clone()).or_default() += count;
    }
}
