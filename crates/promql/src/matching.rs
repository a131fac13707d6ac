//! Operators between two vectors: who meets whom.

mod sets;

use std::collections::HashMap;

use firetower_model::Labels;
use firetower_model::labels::NAME;

use crate::curve::{ABSENT, Curve, Union, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::operator::Operator;
use crate::plan::Vector;
use crate::steps::Steps;

/// `on`, `ignoring`, `group_left`, `group_right`.
#[derive(Debug)]
pub(crate) struct Matching {
    pub is_on: bool,
    pub names: Vec<String>,
    pub cardinality: Cardinality,
}

/// How many series of a side may meet one of the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`, with the labels that are taken from the right
    ManyToOne(Vec<String>),
    /// `group_right`, with the labels that are taken from the left
    OneToMany(Vec<String>),
}

impl Matching {
    fn is_compared(&self, name: &str) -> bool {
        let is_named = self.names.iter().any(|at| at == name);
        if self.is_on { is_named } else { !is_named && name != NAME }
    }

    /// Returns what series must have in common to meet.
    fn key(&self, labels: &Labels) -> Labels {
        labels.kept(|name| self.is_compared(name))
    }

    /// Returns the labels of what comes of a meeting.
    fn result(&self, many: &Labels, one: &Labels, drops_name: bool) -> Labels {
        let kept = many.kept(|name| {
            let is_wanted = match self.cardinality {
                Cardinality::OneToOne if self.is_on => self.names.iter().any(|at| at == name),
                Cardinality::OneToOne => !self.names.iter().any(|at| at == name),
                _ => true,
            };
            is_wanted && !(drops_name && name == NAME)
        });
        match &self.cardinality {
            Cardinality::OneToOne => kept,
            Cardinality::ManyToOne(taken) | Cardinality::OneToMany(taken) if taken.is_empty() => kept,
            Cardinality::ManyToOne(taken) | Cardinality::OneToMany(taken) => {
                kept.overlaid(&Labels::new(taken.iter().map(|name| (name, one.get(name).unwrap_or("")))))
            }
        }
    }
}

/// The series of both sides that may meet.
#[derive(Default)]
struct Meeting {
    many: Vec<Curve>,
    one: Vec<Curve>,
}

impl Evaluation<'_> {
    /// Hands on what `operator` makes of the series of both sides that meet.
    pub(crate) fn matched(
        &self,
        (operator, is_bool): (Operator, bool),
        matching: &Matching,
        (left, right): (&Vector, &Vector),
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let is_many_right = matches!(matching.cardinality, Cardinality::OneToMany(_));
        let (left, right) = (self.collect(left, steps)?, self.collect(right, steps)?);
        let count = left.len() + right.len();
        let (many, one) = if is_many_right { (right, left) } else { (left, right) };
        let is_any_many = presence(&many, steps);
        let mut meetings: HashMap<Labels, Meeting> = HashMap::new();
        for curve in one {
            meetings.entry(matching.key(&curve.labels)).or_default().one.push(curve);
        }
        for curve in many {
            if let Some(meeting) = meetings.get_mut(&matching.key(&curve.labels)) {
                meeting.many.push(curve);
            }
        }
        let pairs = Pairs { operator, is_bool, matching, is_many_right };
        let mut union = Union::default();
        for (at, (key, meeting)) in meetings.iter().enumerate() {
            if at % 1_024 == 0 {
                self.go_on()?;
            }
            pairs.check_one_side(key, &meeting.one, &is_any_many)?;
            pairs.meet(meeting, &mut union)?;
        }
        self.forget(count, steps);
        drop(meetings);
        union.finish().into_iter().try_for_each(sink)
    }
}

/// Tells for each step whether any curve has a value.
fn presence<'a>(curves: impl IntoIterator<Item = &'a Curve>, steps: Steps) -> Vec<bool> {
    let mut is_any = vec![false; steps.count()];
    for curve in curves {
        is_any.iter_mut().zip(&curve.values).for_each(|(is_any, value)| *is_any |= !is_absent(*value));
    }
    is_any
}

struct Pairs<'a> {
    operator: Operator,
    is_bool: bool,
    matching: &'a Matching,
    is_many_right: bool,
}

impl Pairs<'_> {
    /// Refuses two series of the "one" side in one meeting, at a step where the other side has any series.
    fn check_one_side(&self, key: &Labels, one: &[Curve], is_any_many: &[bool]) -> Result<(), Error> {
        for (at, first) in one.iter().enumerate() {
            for second in &one[at + 1..] {
                let mut both = first.values.iter().zip(&second.values).zip(is_any_many);
                if !both.any(|((first, second), is_any)| *is_any && !is_absent(*first) && !is_absent(*second)) {
                    continue;
                }
                let mut pair = [written(&first.labels), written(&second.labels)];
                pair.sort();
                let [first, second] = pair;
                let side = if self.is_many_right { "left" } else { "right" };
                return Err(Error::ManyToMany { group: written(key), side, first, second });
            }
        }
        Ok(())
    }

    fn meet(&self, meeting: &Meeting, union: &mut Union) -> Result<(), Error> {
        let mut taken: HashMap<Labels, Vec<bool>> = HashMap::new();
        let is_one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let is_alone = meeting.many.len() == 1 && meeting.one.len() == 1;
        for many in &meeting.many {
            for one in &meeting.one {
                let drops_name = self.operator.drops_name(self.is_bool);
                let labels = self.matching.result(&many.labels, &one.labels, drops_name);
                if !is_alone {
                    let key = if is_one_to_one { Labels::empty() } else { labels.clone() };
                    let taken = taken.entry(key).or_insert_with(|| vec![false; many.values.len()]);
                    if !take(taken, many, one) {
                        return Err(if is_one_to_one { Error::ManyToOne } else { Error::NotUnique });
                    }
                }
                let curve = Curve { labels, values: self.values(many, one) };
                if !curve.is_empty() {
                    union.add(curve)?;
                }
            }
        }
        Ok(())
    }

    fn values(&self, many: &Curve, one: &Curve) -> Vec<f64> {
        let value = |(many, one): (&f64, &f64)| {
            if is_absent(*many) || is_absent(*one) {
                return ABSENT;
            }
            let (left, right) = if self.is_many_right { (*one, *many) } else { (*many, *one) };
            self.operator.apply_or_filter(left, right, self.is_bool, left)
        };
        many.values.iter().zip(&one.values).map(value).collect()
    }
}

/// Marks the steps where both have a value; returns whether none was marked before.
fn take(taken: &mut [bool], many: &Curve, one: &Curve) -> bool {
    let both = many.values.iter().zip(&one.values).map(|(many, one)| !is_absent(*many) && !is_absent(*one));
    taken.iter_mut().zip(both).all(|(taken, is_both)| !(std::mem::replace(taken, *taken || is_both) && is_both))
}

/// Writes labels as Prometheus has them in its messages.
fn written(labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}
