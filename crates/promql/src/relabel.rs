//! `label_replace` and `label_join`.

use firetower_model::Labels;
use regex::Regex;

use crate::curve::Curve;
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::plan::Vector;
use crate::steps::Steps;

/// How one label is made of others.
#[derive(Debug)]
pub(crate) enum Relabelling {
    Replace { to: String, template: String, from: String, regex: Regex },
    Join { to: String, separator: String, from: Vec<String> },
}

impl Relabelling {
    /// Checks the arguments of `label_replace(v, to, template, from, pattern)`.
    pub(crate) fn replace(to: String, template: String, from: String, pattern: &str) -> Result<Relabelling, Error> {
        let regex = Regex::new(&format!("^(?s:{pattern})$"))
            .map_err(|_| Error::argument(format!("invalid regular expression in label_replace(): {pattern}")))?;
        if !is_label(&to) {
            return Err(Error::argument(format!("invalid destination label name in label_replace(): {to}")));
        }
        Ok(Relabelling::Replace { to, template, from, regex })
    }

    /// Checks the arguments of `label_join(v, to, separator, from, …)`.
    pub(crate) fn join(to: String, separator: String, from: Vec<String>) -> Result<Relabelling, Error> {
        if !is_plain_label(&to) {
            return Err(Error::argument(format!("invalid destination label name in label_join(): {to}")));
        }
        Ok(Relabelling::Join { to, separator, from })
    }

    fn apply(&self, labels: &Labels) -> Labels {
        let get = |name: &str| labels.get(name).unwrap_or("");
        match self {
            Relabelling::Replace { to, template, from, regex } => match regex.captures(get(from)) {
                None => labels.clone(),
                Some(captures) => {
                    let mut value = String::new();
                    captures.expand(template, &mut value);
                    labels.overlaid(&Labels::new([(to, value)]))
                }
            },
            Relabelling::Join { to, separator, from } => {
                let parts: Vec<&str> = from.iter().map(|name| get(name)).collect();
                labels.overlaid(&Labels::new([(to, parts.join(separator))]))
            }
        }
    }
}

/// Tells whether a series may have a label called `name`: any text, of which [`text`](crate::text) left bytes that are none.
pub(crate) fn is_label(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::REPLACEMENT_CHARACTER)
}

/// Tells whether `name` is a label's as it was before names could be any text.
fn is_plain_label(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Evaluation<'_> {
    /// Hands on what `of` has, with other labels.
    pub(crate) fn relabel(
        &self,
        relabelling: &Relabelling,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let run = |add: Sink<'_>| {
            self.stream(of, steps, &mut |curve| {
                let labels = relabelling.apply(&curve.labels);
                add(Curve { labels, ..curve })
            })
        };
        self.united(run, sink)
    }
}
