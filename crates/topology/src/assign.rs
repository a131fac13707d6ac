//! Which secondary scrapes which target.

use std::collections::BTreeMap;

use firetower_model::Target;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// By how much the largest share may be over the even one, in percent.
///
/// Rendezvous hashing alone leaves small sites lopsided (5 targets all on one of 2 secondaries, once in 16) and is
/// within a few percent for large ones, so that this limit hardly ever moves a target there.
const OVER_EVEN_PERCENT: usize = 5;

/// Returns for each target which of the `secondaries` scrapes it, as its place in that list.
///
/// Depends on the set of targets and on the names only, not on the order of either. Every target goes to the
/// secondary that it likes best and that has room left; so when a secondary comes or goes, its share moves and
/// little else.
///
/// # Panics
/// If there are targets but no secondaries.
///
/// Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998), with the bounded loads of
/// Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads" (2018).
pub fn assign(targets: &[Target], secondaries: &[&str]) -> Vec<usize> {
    assert!(targets.is_empty() || !secondaries.is_empty(), "someone must scrape the targets");
    let share_max = (targets.len() * (100 + OVER_EVEN_PERCENT)).div_ceil(100 * secondaries.len().max(1));
    let mut in_order: Vec<(u64, usize)> = targets.iter().map(Target::hash).zip(0..).collect();
    in_order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| targets[a.1].cmp(&targets[b.1])));

    let mut shares = vec![0; secondaries.len()];
    let mut assigned = vec![0; targets.len()];
    for (hash, target) in in_order {
        let likes = secondaries.iter().zip(0..).map(|(name, at)| (xxh3_64_with_seed(name.as_bytes(), hash), *name, at));
        let best = likes.filter(|(_, _, at)| shares[*at] < share_max).max();
        let (_, _, secondary) = best.expect("all shares together have room for all targets");
        shares[secondary] += 1;
        assigned[target] = secondary;
    }
    assigned
}

/// Returns the targets of each secondary by its name, in the order of `targets`.
pub fn shares<'t, 's>(targets: &'t [Target], secondaries: &[&'s str]) -> BTreeMap<&'s str, Vec<&'t Target>> {
    let mut shares: BTreeMap<&str, Vec<&Target>> = secondaries.iter().map(|name| (*name, Vec::new())).collect();
    for (target, secondary) in targets.iter().zip(assign(targets, secondaries)) {
        shares.entry(secondaries[secondary]).or_default().push(target);
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firetower_model::Labels;

    use super::*;

    fn targets(count: usize) -> Vec<Target> {
        (0..count)
            .map(|n| Target {
                job_name: "node".into(),
                labels: Labels::new([
                    ("job", "node".to_owned()),
                    ("instance", format!("10.0.{}.{}:9100", n / 250, n % 250)),
                ]),
                url: format!("http://10.0.{}.{}:9100/metrics", n / 250, n % 250),
                interval: Duration::from_secs(15),
                timeout: Duration::from_secs(10),
            })
            .collect()
    }

    fn owners<'s>(targets: &[Target], secondaries: &[&'s str]) -> Vec<&'s str> {
        assign(targets, secondaries).into_iter().map(|at| secondaries[at]).collect()
    }

    #[test]
    fn shares_are_even() {
        let names: Vec<String> = (0..20).map(|n| format!("dub-s{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (count, secondaries) in [(0, 2), (1, 2), (5, 2), (12, 3), (100, 7), (5_000, 2), (5_000, 3), (20_000, 20)] {
            let targets = targets(count);
            let names = &names[..secondaries];
            let largest = shares(&targets, names).values().map(Vec::len).max().unwrap();
            let even = count as f64 / secondaries as f64;
            assert!(largest as f64 <= (even * 1.05).ceil(), "{count} over {secondaries}: {largest}");
        }
    }

    #[test]
    fn the_order_of_targets_and_secondaries_does_not_matter() {
        let targets = targets(1_000);
        let owners_forward = owners(&targets, &["a", "b", "c"]);
        let backward: Vec<Target> = targets.iter().rev().cloned().collect();
        let mut owners_backward = owners(&backward, &["c", "a", "b"]);
        owners_backward.reverse();
        assert_eq!(owners_forward, owners_backward);
    }

    #[test]
    fn few_targets_move_when_a_secondary_comes_or_goes() {
        let targets = targets(5_000);
        let (four, five) = (["a", "b", "c", "d"], ["a", "b", "c", "d", "e"]);
        let (before, after) = (owners(&targets, &four), owners(&targets, &five));
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let moved_between_old = before.iter().zip(&after).filter(|(a, b)| a != b && **b != "e").count();
        assert!((900..1_150).contains(&moved), "a fifth moves to the new one: {moved}");
        assert!(moved_between_old < 100, "hardly any moves between the others: {moved_between_old}");
    }
}
