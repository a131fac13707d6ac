//! Saying so when an account does not close.

use std::collections::BTreeMap;

use firetower_model::{Account, Received};

/// Says once when an account stops closing, and once when it closes again.
#[derive(Debug, Default)]
pub struct Audit {
    /// What is off, by the other side and the direction.
    off: BTreeMap<(&'static str, String), i64>,
}

impl Audit {
    /// Looks at the accounts towards the parents, and at what was received from the children.
    pub fn look(&mut self, accounts: &[Account], received: &[Received]) {
        for account in accounts {
            if let Some(samples) = self.news("parent", &account.parent, account.residual()) {
                let Account { parent, collected, delivered, queued, dropped } = account;
                tracing::error!(parent, samples, collected, delivered, queued, ?dropped, "account does not close");
            }
        }
        for from in received {
            if let Some(samples) = self.news("child", &from.child, from.excess() as i64) {
                let Received { child, applied, delivered, .. } = from;
                tracing::error!(child, samples, applied, delivered, "child counts more as delivered than was applied");
            }
        }
    }

    /// Notes by how much an account is off; returns that if it is not zero and was not so before.
    fn news(&mut self, direction: &'static str, peer: &str, samples: i64) -> Option<i64> {
        let known = self.off.get(&(direction, peer.to_owned())).copied().unwrap_or(0);
        if known == samples {
            return None;
        }
        if samples == 0 {
            tracing::warn!(direction, peer, "account closes again");
            self.off.remove(&(direction, peer.to_owned()));
            return None;
        }
        self.off.insert((direction, peer.to_owned()), samples);
        Some(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_news() {
        let mut audit = Audit::default();
        let said = [0, 5, 5, 7, 0, 0, 5].map(|samples| audit.news("parent", "p0", samples));
        assert_eq!(said, [None, Some(5), None, Some(7), None, None, Some(5)]);
        assert_eq!(audit.news("child", "p0", 5), Some(5));
    }
}
